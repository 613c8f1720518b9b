-- Who may ask for joins, whose keys wrap what they get, and which JoinEUIs are ours.

CREATE TABLE peer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('network_server', 'application_server')),
    name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 64),
    token_hash bytea UNIQUE CHECK (octet_length(token_hash) = 32),
    allow_plain_keys boolean NOT NULL DEFAULT false,
    app_s_key text NOT NULL DEFAULT 'wrapped' CHECK (app_s_key IN ('wrapped', 'plain')),
    session_key_id text NOT NULL DEFAULT 'send' CHECK (session_key_id IN ('send', 'omit')),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    UNIQUE (kind, name)
);
COMMENT ON TABLE peer IS 'A network server or application server that may speak to the join server.';
COMMENT ON COLUMN peer.id IS 'Number inside this database.';
COMMENT ON COLUMN peer.kind IS 'What it is.';
COMMENT ON COLUMN peer.name IS 'Of an application server its AS-ID; of a network server a name for people.';
COMMENT ON COLUMN peer.token_hash IS 'SHA-256 of its 256-bit random bearer token; null: it has none.';
COMMENT ON COLUMN peer.allow_plain_keys IS 'Whether it may get network session keys in clear (mutual TLS only; TS002-1.0 KeyEnvelope without KEKLabel).';
COMMENT ON COLUMN peer.app_s_key IS 'wrapped: AppSKey under the AS KEK; plain: in clear, where allowed.';
COMMENT ON COLUMN peer.session_key_id IS 'Whether it is sent SessionKeyID.';
COMMENT ON COLUMN peer.created_at IS 'When it was made.';
COMMENT ON COLUMN peer.revoked_at IS 'Since when it is refused; null while it is good.';

CREATE TABLE peer_net_id (
    peer_id bigint NOT NULL REFERENCES peer,
    net_id bytea NOT NULL CHECK (octet_length(net_id) = 3),
    PRIMARY KEY (peer_id, net_id)
);
COMMENT ON TABLE peer_net_id IS 'The NetIDs a network server may speak for: one of a network, many of a hub. A NetID may have several peers.';
COMMENT ON COLUMN peer_net_id.peer_id IS 'The network server.';
COMMENT ON COLUMN peer_net_id.net_id IS 'NetID, 3 bytes (TS002-1.0 SenderID).';
CREATE INDEX peer_net_id_net_id ON peer_net_id (net_id);

CREATE TABLE kek (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    peer_kind text NOT NULL CHECK (peer_kind IN
        ('network_server', 'application_server', 'organization')),
    peer_id text NOT NULL CHECK (octet_length(peer_id) BETWEEN 1 AND 64),
    class text NOT NULL CHECK (class IN ('ns', 'as', 'transport')),
    label text NOT NULL CHECK (octet_length(label) BETWEEN 1 AND 64),
    is_current boolean NOT NULL,
    kek_label text NOT NULL CHECK (octet_length(kek_label) BETWEEN 1 AND 31),
    blob bytea NOT NULL CHECK (octet_length(blob) IN (24, 32, 40)),
    tag bytea NOT NULL CHECK (octet_length(tag) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (peer_kind, peer_id, class, label)
);
COMMENT ON TABLE kek IS 'Key encryption keys shared with peers, sealed. Several labels of a peer may live; one is current.';
COMMENT ON COLUMN kek.id IS 'Number inside this database.';
COMMENT ON COLUMN kek.peer_kind IS 'What the peer is; bound by the tag.';
COMMENT ON COLUMN kek.peer_id IS 'NetID as 6 lower-case hex digits, AS-ID, or organization; bound by the tag.';
COMMENT ON COLUMN kek.class IS 'What it may wrap: ns network session keys, as AppSKey, transport keys between a maker and us; bound by the tag.';
COMMENT ON COLUMN kek.label IS 'KEKLabel that the peer sees (TS002-1.0 KeyEnvelope); bound by the tag.';
COMMENT ON COLUMN kek.is_current IS 'The one that wraps from now on.';
COMMENT ON COLUMN kek.kek_label IS 'Label of the storage KEK in the HSM; bound by the tag.';
COMMENT ON COLUMN kek.blob IS 'The key wrapped under that storage KEK (RFC 3394).';
COMMENT ON COLUMN kek.tag IS 'HMAC-SHA-256, made in the HSM, over 2 | peer kind | peer id | class | label | kek_label | blob.';
COMMENT ON COLUMN kek.created_at IS 'When it was made.';
CREATE UNIQUE INDEX kek_current ON kek (peer_kind, peer_id, class) WHERE is_current;

CREATE TABLE join_route (
    prefix bytea NOT NULL CHECK (octet_length(prefix) = 8),
    prefix_len smallint NOT NULL CHECK (prefix_len BETWEEN 0 AND 64),
    kind text NOT NULL CHECK (kind IN ('local')),
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (prefix, prefix_len)
);
COMMENT ON TABLE join_route IS 'Which JoinEUIs are whose; the longest prefix decides.';
COMMENT ON COLUMN join_route.prefix IS 'JoinEUI, 8 bytes; the bits after prefix_len are zero.';
COMMENT ON COLUMN join_route.prefix_len IS 'How many bits count, 0 to 64.';
COMMENT ON COLUMN join_route.kind IS 'local: answered here.';
COMMENT ON COLUMN join_route.created_at IS 'When it was made.';

-- The join server holds these four tables in memory and loads them again when told.
CREATE FUNCTION directory_changed() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('cradle_directory', '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION directory_changed() IS 'Tells whoever listens on cradle_directory that peers, KEKs or routes changed.';

CREATE TRIGGER peer_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON peer
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();
CREATE TRIGGER peer_net_id_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON peer_net_id
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();
CREATE TRIGGER kek_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON kek
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();
CREATE TRIGGER join_route_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON join_route
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();

GRANT SELECT ON peer, peer_net_id, kek, join_route TO cradle_join;
GRANT SELECT, INSERT ON peer TO cradle_activation;
GRANT UPDATE (name, token_hash, allow_plain_keys, app_s_key, session_key_id, revoked_at) ON peer
    TO cradle_activation;
GRANT SELECT, INSERT, DELETE ON peer_net_id TO cradle_activation;
GRANT SELECT, INSERT, DELETE ON kek TO cradle_activation;
GRANT UPDATE (is_current) ON kek TO cradle_activation;
GRANT SELECT, INSERT, DELETE ON join_route TO cradle_activation;
