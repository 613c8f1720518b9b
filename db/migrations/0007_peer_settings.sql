-- How a peer is answered: in the HTTP response or at its own URL; and which of its network servers it is.

ALTER TABLE peer
    ADD COLUMN answer_url text CHECK (octet_length(answer_url) BETWEEN 1 AND 512),
    ADD COLUMN answer_credential text CHECK (octet_length(answer_credential) BETWEEN 1 AND 64),
    ADD CHECK (answer_credential IS NULL OR answer_url IS NOT NULL);
COMMENT ON COLUMN peer.answer_url IS 'Where its answers are posted (TS002-1.0 asynchronous mode); null: they are in the HTTP response.';
COMMENT ON COLUMN peer.answer_credential IS 'Name of what we show there, a file of the join server''s; null: nothing. No secret is kept here.';

CREATE TABLE peer_ns_id (
    peer_id bigint NOT NULL REFERENCES peer,
    ns_id bytea NOT NULL CHECK (octet_length(ns_id) = 8),
    PRIMARY KEY (peer_id, ns_id)
);
COMMENT ON TABLE peer_ns_id IS 'The NSIDs a network server may speak for (TS002-1.1 SenderNSID); of one without any, a SenderNSID says nothing.';
COMMENT ON COLUMN peer_ns_id.peer_id IS 'The network server.';
COMMENT ON COLUMN peer_ns_id.ns_id IS 'NSID, an EUI-64.';
COMMENT ON COLUMN kek.peer_id IS 'NetID as 6 lower-case hex digits, NetID/NSID, AS-ID, or organization; bound by the tag.';

CREATE TRIGGER peer_ns_id_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON peer_ns_id
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();

GRANT SELECT ON peer_ns_id TO cradle_join;
GRANT SELECT, INSERT, DELETE ON peer_ns_id TO cradle_activation;
GRANT UPDATE (answer_url, answer_credential) ON peer TO cradle_activation;
