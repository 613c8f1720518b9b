-- Roles, organizations and their clients.
--
-- cradle_owner runs the migrations and owns everything. The services' roles are made before, by
-- whoever administers the cluster: a schema must not decide who may log in.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['cradle_join', 'cradle_activation'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = role_name) THEN
            RAISE EXCEPTION 'role % does not exist: create it before migrating', role_name;
        END IF;
    END LOOP;
    -- A role that may make temporary tables could put one in the way of a SECURITY DEFINER function.
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO cradle_join, cradle_activation',
        current_database());
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO cradle_join, cradle_activation;
GRANT SELECT ON schema_migration TO cradle_join, cradle_activation;
-- Functions are callable by everyone unless said otherwise, once and for all, here.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

CREATE TABLE organization (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (octet_length(name) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE organization IS 'A maker, an owner or an operator: who devices and clients belong to.';
COMMENT ON COLUMN organization.id IS 'Number inside this database; never shown outside.';
COMMENT ON COLUMN organization.name IS 'Name for people, unique.';
COMMENT ON COLUMN organization.created_at IS 'When it was made.';

CREATE TABLE client (
    id bytea PRIMARY KEY CHECK (octet_length(id) = 16),
    organization_id bigint NOT NULL REFERENCES organization,
    roles integer NOT NULL CHECK (roles >= 0),
    secret_hash bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
COMMENT ON TABLE client IS 'A program that may call the activation API (RFC 6749 client credentials).';
COMMENT ON COLUMN client.id IS 'client_id, 16 random bytes.';
COMMENT ON COLUMN client.organization_id IS 'For whom it acts.';
COMMENT ON COLUMN client.roles IS 'Bits of enum account_role; what each may do is a table of the activation service.';
COMMENT ON COLUMN client.secret_hash IS 'SHA-256 of the 256-bit random client secret, which is shown once and kept nowhere.';
COMMENT ON COLUMN client.created_at IS 'When it was made.';
COMMENT ON COLUMN client.revoked_at IS 'Since when it is refused; null while it is good.';
CREATE INDEX client_organization ON client (organization_id);

GRANT SELECT, INSERT ON organization TO cradle_activation;
GRANT UPDATE (name) ON organization TO cradle_activation;
GRANT SELECT, INSERT ON client TO cradle_activation;
GRANT UPDATE (roles, secret_hash, revoked_at) ON client TO cradle_activation;
