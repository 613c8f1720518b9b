-- Claims: who tried to become the owner of what, and how often in vain.

ALTER TABLE claim_code DROP CONSTRAINT claim_code_origin_check, DROP CONSTRAINT claim_code_made_by_a_call,
    ADD CONSTRAINT claim_code_origin_check CHECK (origin IN ('given', 'made', 'claimed')),
    ADD CONSTRAINT claim_code_made_by_a_call CHECK ((origin = 'given') = (made_by IS NULL));
COMMENT ON COLUMN claim_code.origin IS 'given by a file; made here for the maker, who may have it made anew; claimed: made by a claim, or for the owner since.';
COMMENT ON COLUMN claim_code.made_by IS 'Which call made it, as a hash of client and Idempotency-Key (of a claim without one, of its request id): the same call makes it anew, another one leaves it alone. Null for a given one.';

ALTER TABLE claim_code
    ADD COLUMN released_by bigint REFERENCES organization,
    ADD COLUMN released_at timestamptz,
    ADD CONSTRAINT claim_code_released CHECK ((released_by IS NULL) = (released_at IS NULL));
COMMENT ON COLUMN claim_code.released_by IS 'Which organization released the device; null once somebody has it.';
COMMENT ON COLUMN claim_code.released_at IS 'When.';
GRANT UPDATE (released_by, released_at) ON claim_code TO cradle_activation;

-- No reference to device or client: what is not here is tried too, and leaves the same trace.
CREATE TABLE claim_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    dev_eui bytea NOT NULL CHECK (octet_length(dev_eui) = 8),
    organization_id bigint NOT NULL,
    client_id bytea NOT NULL,
    request_id text NOT NULL CHECK (octet_length(request_id) BETWEEN 1 AND 40),
    outcome text NOT NULL CHECK (outcome IN ('claimed', 'repeated', 'own', 'again', 'unknown', 'quarantined', 'taken',
        'credential', 'no-code', 'locked', 'code', 'raced'))
);
COMMENT ON TABLE claim_event IS 'Every attempt to claim a device, append only, with the reason that whoever tried is not told. No code, and no hash of one.';
COMMENT ON COLUMN claim_event.id IS 'Order of writing.';
COMMENT ON COLUMN claim_event.at IS 'When its transaction began, by this database''s clock.';
COMMENT ON COLUMN claim_event.client_id IS 'Which client.';
COMMENT ON COLUMN claim_event.request_id IS 'X-Request-Id of the call.';
COMMENT ON COLUMN claim_event.dev_eui IS 'What was asked for, whether it is here or not.';
COMMENT ON COLUMN claim_event.organization_id IS 'Whose client tried.';
COMMENT ON COLUMN claim_event.outcome IS 'claimed, repeated (the same call came again), own (it is the claimant''s already); any other: refused, and why.';
CREATE INDEX claim_event_device ON claim_event (dev_eui, id);
CREATE INDEX claim_event_at ON claim_event (at);
GRANT SELECT, INSERT, DELETE ON claim_event TO cradle_activation;

CREATE TABLE claim_limit (
    scope smallint NOT NULL CHECK (scope BETWEEN 1 AND 4),
    subject bytea NOT NULL CHECK (octet_length(subject) BETWEEN 8 AND 24),
    due timestamptz NOT NULL,
    n_wrong integer NOT NULL DEFAULT 0 CHECK (n_wrong >= 0),
    PRIMARY KEY (scope, subject)
);
COMMENT ON TABLE claim_limit IS 'Wrong claims, as far as they are not forgiven: a leaky bucket a row, for all processes, kept over restarts.';
COMMENT ON COLUMN claim_limit.scope IS '1 a client; 2 a device (also one that is not here); 3 a client and a device; 4 a network (IPv4 /24, IPv6 /64) that clients came from.';
COMMENT ON COLUMN claim_limit.subject IS 'client_id; DevEUI; both; the address, 8 bytes.';
COMMENT ON COLUMN claim_limit.due IS 'When all of them are forgiven.';
COMMENT ON COLUMN claim_limit.n_wrong IS 'All of them: too many lock a weak code until somebody entitled unlocks it.';
CREATE INDEX claim_limit_due ON claim_limit (due);
GRANT SELECT, INSERT, DELETE ON claim_limit TO cradle_activation;
GRANT UPDATE (due, n_wrong) ON claim_limit TO cradle_activation;

-- As 0010 made it, in a language that keeps its plan for the life of a connection: one in SQL plans its statement
-- each time it is called, which was the dearest part of a claim.
CREATE OR REPLACE FUNCTION device_sessions_end(of_dev_eui bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE public.device_join SET gate_rev = gate_rev + 1,
        current_join_type = NULL, current_join_nonce = NULL, current_nonce = NULL, current_net_id = NULL,
        current_rj_count0 = NULL,
        pending_join_type = NULL, pending_join_nonce = NULL, pending_nonce = NULL, pending_net_id = NULL,
        pending_rj_count0 = NULL,
        previous_join_type = NULL, previous_join_nonce = NULL, previous_nonce = NULL, previous_net_id = NULL
    WHERE dev_eui = of_dev_eui;
END
$$;
