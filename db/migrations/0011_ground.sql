-- The ground of the REST API: whose is what, what was done by whom, and what was answered already.

ALTER TABLE organization
    ADD COLUMN public_id bytea NOT NULL UNIQUE DEFAULT decode(replace(gen_random_uuid()::text, '-', ''), 'hex')
        CHECK (octet_length(public_id) = 16),
    ADD COLUMN allow_clear_keys boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN organization.public_id IS 'The id that the world sees, 16 random bytes.';
COMMENT ON COLUMN organization.allow_clear_keys IS 'Whether its files may hold root keys in clear.';
COMMENT ON COLUMN organization.id IS 'Number inside this database; never shown outside, where public_id is.';
-- Until now every file held keys in clear.
UPDATE organization SET allow_clear_keys = true;
GRANT UPDATE (name, allow_clear_keys) ON organization TO cradle_activation;

ALTER TABLE client ADD COLUMN name text NOT NULL DEFAULT '' CHECK (octet_length(name) <= 100);
COMMENT ON COLUMN client.name IS 'What it is, for people.';
-- A maker was one role; it makes modules and products.
UPDATE client SET roles = roles | 4 WHERE roles & 2 <> 0;

CREATE TABLE certificate (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    number text NOT NULL UNIQUE CHECK (number ~ '^[MP]_[0-9A-Z]{4}_[0-9A-Z]{4}_[0-9A-Z]{2}$'),
    kind text NOT NULL CHECK (kind IN ('module', 'product')),
    organization_id bigint NOT NULL REFERENCES organization,
    name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    CHECK ((kind = 'module') = (number LIKE 'M%'))
);
COMMENT ON TABLE certificate IS 'What a maker may build: a module (M_...) or a product (P_...), as Sigfox names them. No X.509 certificate.';
COMMENT ON COLUMN certificate.id IS 'Number inside this database.';
COMMENT ON COLUMN certificate.number IS 'M_XXXX_XXXX_XX or P_XXXX_XXXX_XX.';
COMMENT ON COLUMN certificate.kind IS 'module or product.';
COMMENT ON COLUMN certificate.organization_id IS 'The maker.';
COMMENT ON COLUMN certificate.name IS 'What it is, for people.';
COMMENT ON COLUMN certificate.created_at IS 'When it was made.';
COMMENT ON COLUMN certificate.revoked_at IS 'Since when nothing new hangs on it; null while it is good.';
CREATE INDEX certificate_organization ON certificate (organization_id, id);
GRANT SELECT, INSERT ON certificate TO cradle_activation;
GRANT UPDATE (name, revoked_at) ON certificate TO cradle_activation;

CREATE TABLE audit_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    organization_id bigint REFERENCES organization,
    client_id bytea REFERENCES client,
    request_id text NOT NULL CHECK (octet_length(request_id) BETWEEN 1 AND 40),
    action text NOT NULL CHECK (octet_length(action) BETWEEN 1 AND 60),
    object text NOT NULL CHECK (octet_length(object) <= 200),
    detail jsonb NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE audit_event IS 'Every change that was asked for, written in the transaction of the change. Append only. Never a secret, a key or a code.';
COMMENT ON COLUMN audit_event.id IS 'Number inside this database, in the order of writing, not of commit.';
COMMENT ON COLUMN audit_event.at IS 'When its transaction began, by this database''s clock.';
COMMENT ON COLUMN audit_event.organization_id IS 'In whose history it stands; null: of nobody''s but the administrators''.';
COMMENT ON COLUMN audit_event.client_id IS 'Who did it; null: the cradle command, on this database itself, or a service that interrupts a job whose lease is over.';
COMMENT ON COLUMN audit_event.request_id IS 'X-Request-Id of the call; of a job that a service interrupts, "lease-" with the job''s number and turn.';
COMMENT ON COLUMN audit_event.action IS 'What was done, as "organization.create".';
COMMENT ON COLUMN audit_event.object IS 'To what, by the id that the world sees.';
COMMENT ON COLUMN audit_event.detail IS 'What changed: members and their new values.';
CREATE INDEX audit_event_organization ON audit_event (organization_id, id);
CREATE INDEX audit_event_request ON audit_event (request_id);
GRANT SELECT, INSERT ON audit_event TO cradle_activation;

CREATE TABLE idempotency (
    client_id bytea NOT NULL REFERENCES client,
    route text NOT NULL CHECK (octet_length(route) BETWEEN 1 AND 200),
    key text NOT NULL CHECK (octet_length(key) BETWEEN 1 AND 255),
    at timestamptz NOT NULL DEFAULT now(),
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    status smallint CHECK (status BETWEEN 200 AND 599),
    content_type text,
    location text,
    body text,
    PRIMARY KEY (client_id, route, key)
);
COMMENT ON TABLE idempotency IS 'What was answered to a call with an Idempotency-Key, for a day; written in the transaction of the change.';
COMMENT ON COLUMN idempotency.client_id IS 'Who called.';
COMMENT ON COLUMN idempotency.route IS 'Method and path pattern of the call.';
COMMENT ON COLUMN idempotency.key IS 'Idempotency-Key.';
COMMENT ON COLUMN idempotency.at IS 'When.';
COMMENT ON COLUMN idempotency.fingerprint IS 'SHA-256 of path, query and body: the same key with another call is refused.';
COMMENT ON COLUMN idempotency.status IS 'HTTP status that was answered.';
COMMENT ON COLUMN idempotency.content_type IS 'Its Content-Type.';
COMMENT ON COLUMN idempotency.location IS 'Its Location, if it had one.';
COMMENT ON COLUMN idempotency.body IS 'Its body, without what is shown once.';
CREATE INDEX idempotency_at ON idempotency (at);
GRANT SELECT, INSERT, DELETE ON idempotency TO cradle_activation;
GRANT UPDATE (status, content_type, location, body) ON idempotency TO cradle_activation;
