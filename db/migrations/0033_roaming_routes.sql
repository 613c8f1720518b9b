-- Where a request goes whose JoinEUI is not ours: partners, and routes of more kinds than "answered here".

CREATE TABLE partner (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 64),
    url text NOT NULL CHECK (octet_length(url) BETWEEN 1 AND 512),
    protocol_version text NOT NULL CHECK (protocol_version IN ('1.0', '1.1')),
    credential text CHECK (octet_length(credential) BETWEEN 1 AND 64),
    is_async boolean NOT NULL DEFAULT false,
    timeout_ms integer NOT NULL DEFAULT 2000 CHECK (timeout_ms BETWEEN 100 AND 4000),
    max_in_flight integer NOT NULL DEFAULT 64 CHECK (max_in_flight BETWEEN 1 AND 1024),
    token_hash bytea UNIQUE CHECK (octet_length(token_hash) = 32),
    san text CHECK (octet_length(san) BETWEEN 1 AND 255),
    trust_anchor text CHECK (octet_length(trust_anchor) BETWEEN 1 AND 65536),
    crl text CHECK (octet_length(crl) BETWEEN 1 AND 524288),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    CHECK (is_async = (token_hash IS NOT NULL)),
    CHECK (san IS NULL OR is_async),
    CHECK ((san IS NULL) = (trust_anchor IS NULL)),
    CHECK (crl IS NULL OR san IS NOT NULL)
);
COMMENT ON TABLE partner IS 'Another join server, or a hub, to which requests for JoinEUIs that are not ours are carried.';
COMMENT ON COLUMN partner.id IS 'Number inside this database; never shown outside.';
COMMENT ON COLUMN partner.name IS 'Name for people.';
COMMENT ON COLUMN partner.url IS 'Where requests are posted (TS002).';
COMMENT ON COLUMN partner.protocol_version IS 'ProtocolVersion of what is posted there.';
COMMENT ON COLUMN partner.credential IS 'Name of what we show there and of whom we believe, files of the join server''s; null: nothing is shown, the system''s CAs are believed. No secret is kept here.';
COMMENT ON COLUMN partner.is_async IS 'Whether it answers by a POST of its own (TS002-1.0 asynchronous mode).';
COMMENT ON COLUMN partner.timeout_ms IS 'How long its answer is waited for.';
COMMENT ON COLUMN partner.max_in_flight IS 'How many requests may wait for it at a time.';
COMMENT ON COLUMN partner.token_hash IS 'SHA-256 of the 256-bit random bearer token with which an asynchronous one posts its answers; null: it is not asynchronous.';
COMMENT ON COLUMN partner.san IS 'The DNS name, or URI when there is a colon in it, that the client certificate must hold with which it posts its answers; null: it has none.';
COMMENT ON COLUMN partner.trust_anchor IS 'PEM of the CA or CAs that may issue that certificate.';
COMMENT ON COLUMN partner.crl IS 'PEM of their revocation lists; null: none.';
COMMENT ON COLUMN partner.created_at IS 'When it was made.';
COMMENT ON COLUMN partner.revoked_at IS 'Since when nothing is carried to it; null while it is good.';
CREATE UNIQUE INDEX partner_live_name ON partner (name) WHERE revoked_at IS NULL;
COMMENT ON INDEX partner_live_name IS 'One partner of a name at a time; the revoked ones do not count.';
CREATE UNIQUE INDEX partner_live_san ON partner (san) WHERE revoked_at IS NULL;
COMMENT ON INDEX partner_live_san IS 'One partner of a SAN at a time; the revoked ones do not count.';

CREATE TABLE partner_net_id (
    partner_id bigint NOT NULL REFERENCES partner,
    net_id bytea NOT NULL CHECK (octet_length(net_id) = 3),
    PRIMARY KEY (partner_id, net_id)
);
COMMENT ON TABLE partner_net_id IS 'The NetIDs whose requests may be carried to a partner; of one without any, those of every network server.';
COMMENT ON COLUMN partner_net_id.partner_id IS 'The partner.';
COMMENT ON COLUMN partner_net_id.net_id IS 'NetID, 3 bytes (TS002-1.0 SenderID).';

-- Whoever posts to the join server with a certificate is one peer or one partner. The lock is held to the end of the
-- transaction: of two that take a SAN at the same moment the second sees the first.
CREATE FUNCTION san_is_of_one() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('san ' || NEW.san, 0));
    IF TG_TABLE_NAME = 'peer' AND EXISTS (SELECT FROM public.partner WHERE san = NEW.san AND revoked_at IS NULL)
        OR TG_TABLE_NAME = 'partner' AND EXISTS (SELECT FROM public.peer WHERE san = NEW.san AND revoked_at IS NULL) THEN
        RAISE EXCEPTION 'the SAN is that of another' USING ERRCODE = 'unique_violation';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION san_is_of_one() IS 'Refuses a SAN that a peer and a partner would share.';
CREATE TRIGGER san_is_of_one BEFORE INSERT OR UPDATE OF san ON peer
    FOR EACH ROW WHEN (NEW.san IS NOT NULL) EXECUTE FUNCTION san_is_of_one();
CREATE TRIGGER san_is_of_one BEFORE INSERT OR UPDATE OF san ON partner
    FOR EACH ROW WHEN (NEW.san IS NOT NULL) EXECUTE FUNCTION san_is_of_one();

ALTER TABLE join_route
    DROP CONSTRAINT join_route_kind_check,
    ALTER COLUMN kind SET DEFAULT 'local',
    ADD CONSTRAINT join_route_kind_check CHECK (kind IN ('local', 'local-any', 'partner', 'dns', 'refuse')),
    ADD COLUMN partner_id bigint REFERENCES partner,
    ADD COLUMN organization_id bigint REFERENCES organization,
    ADD CONSTRAINT join_route_partner_check CHECK ((kind = 'partner') = (partner_id IS NOT NULL)),
    ADD CONSTRAINT join_route_owner_check CHECK (organization_id IS NULL OR kind IN ('local', 'local-any'));
COMMENT ON COLUMN join_route.kind IS 'local: answered here; local-any: answered here, and the device is found by its DevEUI alone, whatever its JoinEUI; partner: carried to one; dns: to the join server that DNS names; refuse: refused.';
COMMENT ON COLUMN join_route.partner_id IS 'The partner, of kind partner.';
COMMENT ON COLUMN join_route.organization_id IS 'The organization that alone may bring in devices with these JoinEUIs; null: whoever may.';
CREATE INDEX join_route_partner ON join_route (partner_id) WHERE partner_id IS NOT NULL;
CREATE INDEX join_route_organization ON join_route (organization_id) WHERE organization_id IS NOT NULL;

-- A look-up for each of the 65 lengths: what it costs does not grow with the number of routes.
CREATE FUNCTION join_routes_of(join_eui bytea) RETURNS SETOF join_route
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT r.* FROM generate_series(0, 64) AS n JOIN join_route r ON r.prefix_len = n
        AND r.prefix = int8send(CASE n WHEN 0 THEN 0 ELSE ('x' || encode(join_eui, 'hex'))::bit(64)::bigint & (-1::bigint << (64 - n)) END)
$$;
COMMENT ON FUNCTION join_routes_of(bytea) IS 'The routes whose prefix this JoinEUI has; the longest decides.';
CREATE FUNCTION join_eui_organization(join_eui bytea) RETURNS bigint
LANGUAGE sql STABLE
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT organization_id FROM join_routes_of(join_eui) WHERE organization_id IS NOT NULL ORDER BY prefix_len DESC LIMIT 1
$$;
COMMENT ON FUNCTION join_eui_organization(bytea) IS 'The organization whose range of JoinEUIs this one is in, by the longest route that has one; null: nobody''s.';

CREATE TRIGGER partner_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON partner
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();
CREATE TRIGGER partner_net_id_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON partner_net_id
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();

-- As peers: revoking is for good. And a partner that a route names stays.
CREATE FUNCTION partner_stays() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF OLD.revoked_at IS NOT NULL THEN
        RAISE EXCEPTION 'partner % is revoked', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    IF NEW.revoked_at IS NOT NULL AND EXISTS (SELECT FROM public.join_route WHERE partner_id = OLD.id) THEN
        RAISE EXCEPTION 'a route names partner %', OLD.id USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION partner_stays() IS 'Refuses a change of a revoked partner, and to revoke one that a route names.';
CREATE TRIGGER partner_stays BEFORE UPDATE ON partner FOR EACH ROW EXECUTE FUNCTION partner_stays();

GRANT SELECT ON partner, partner_net_id TO cradle_join;
GRANT SELECT, INSERT ON partner TO cradle_activation;
GRANT UPDATE (url, protocol_version, credential, is_async, timeout_ms, max_in_flight, token_hash, san, trust_anchor, crl, revoked_at)
    ON partner TO cradle_activation;
GRANT SELECT, INSERT, DELETE ON partner_net_id TO cradle_activation;
GRANT UPDATE (kind, partner_id, organization_id) ON join_route TO cradle_activation;
GRANT EXECUTE ON FUNCTION join_routes_of(bytea), join_eui_organization(bytea) TO cradle_activation;
