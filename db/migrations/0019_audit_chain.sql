-- Audit events are chained after they were committed, by whichever service finds them first, and what they come to is signed.

CREATE TABLE audit_pending (
    event_id bigint PRIMARY KEY
);
COMMENT ON TABLE audit_pending IS 'Events that are not chained yet. Made by a trigger with the event; gone in the transaction that chains it, and not otherwise.';
COMMENT ON COLUMN audit_pending.event_id IS 'The event.';

CREATE TABLE audit_chain (
    seq bigint PRIMARY KEY CHECK (seq > 0),
    before bigint GENERATED ALWAYS AS (nullif(seq - 1, 0)) STORED REFERENCES audit_chain,
    event_id bigint NOT NULL UNIQUE REFERENCES audit_event,
    organization_id bigint NOT NULL,
    organization_seq bigint NOT NULL CHECK (organization_seq > 0),
    chain bytea NOT NULL CHECK (octet_length(chain) = 32),
    organization_chain bytea NOT NULL CHECK (octet_length(organization_chain) = 32),
    salt bytea NOT NULL CHECK (octet_length(salt) = 16),
    UNIQUE (organization_id, organization_seq)
);
COMMENT ON TABLE audit_chain IS 'Where each event stands, and the hashes that bind it to all before it (base/audit_form.h). Append only.';
COMMENT ON COLUMN audit_chain.seq IS 'From 1, in the order in which events were found committed.';
COMMENT ON COLUMN audit_chain.before IS 'The one before it: there is no gap.';
COMMENT ON COLUMN audit_chain.event_id IS 'The event.';
COMMENT ON COLUMN audit_chain.organization_id IS 'In whose history it stands, as the event says; 0: in nobody''s.';
COMMENT ON COLUMN audit_chain.organization_seq IS 'From 1, within that history.';
COMMENT ON COLUMN audit_chain.chain IS 'SHA-256 of the chain before it and the event, over all events.';
COMMENT ON COLUMN audit_chain.organization_chain IS 'The same over the events of that history.';
COMMENT ON COLUMN audit_chain.salt IS 'Random part of its leaf: nobody guesses an event from the hashes beside the path of another.';

CREATE TABLE audit_node (
    level smallint NOT NULL CHECK (level BETWEEN 0 AND 62),
    place bigint NOT NULL CHECK (place >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (level, place)
);
COMMENT ON TABLE audit_node IS 'The complete nodes of the tree over all chained events (RFC 9162, 2.1): of these few any root and any path are made. Append only.';
COMMENT ON COLUMN audit_node.level IS '0: leaves; a node on level L is over 2^L of them.';
COMMENT ON COLUMN audit_node.place IS 'From 0, on its level. Of a leaf: seq - 1.';
COMMENT ON COLUMN audit_node.hash IS 'SHA-256.';

CREATE TABLE audit_checkpoint (
    seq bigint PRIMARY KEY REFERENCES audit_chain,
    signed_at bigint NOT NULL,
    chain bytea NOT NULL CHECK (octet_length(chain) = 32),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    signature bytea NOT NULL CHECK (octet_length(signature) = 64)
);
COMMENT ON TABLE audit_checkpoint IS 'What all events up to one came to, signed in the HSM. Append only.';
COMMENT ON COLUMN audit_checkpoint.seq IS 'The last event, and the size of the tree.';
COMMENT ON COLUMN audit_checkpoint.signed_at IS 'When, by the clock of the key process: seconds since 1970 UTC.';
COMMENT ON COLUMN audit_checkpoint.chain IS 'The chain at that event.';
COMMENT ON COLUMN audit_checkpoint.root IS 'The root of the tree.';
COMMENT ON COLUMN audit_checkpoint.signature IS 'ECDSA over P-256 with SHA-256, r and s.';

CREATE FUNCTION audit_event_waits() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO public.audit_pending (event_id) SELECT id FROM added;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION audit_event_waits() IS 'Has each new event chained. Runs with the owner''s rights: nobody else may say what waits.';
CREATE TRIGGER audit_event_waits AFTER INSERT ON audit_event REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION audit_event_waits();

CREATE FUNCTION audit_pending_is_chained() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM gone g WHERE NOT EXISTS (SELECT FROM public.audit_chain c WHERE c.event_id = g.event_id)) THEN
        RAISE EXCEPTION 'an audit event that is not chained goes on waiting' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION audit_pending_is_chained() IS 'Nothing stops waiting but what was chained.';
CREATE TRIGGER audit_pending_is_chained AFTER DELETE ON audit_pending REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION audit_pending_is_chained();

INSERT INTO audit_pending (event_id) SELECT id FROM audit_event;

GRANT SELECT, DELETE ON audit_pending TO cradle_activation;
GRANT SELECT, INSERT ON audit_chain, audit_node, audit_checkpoint TO cradle_activation;
