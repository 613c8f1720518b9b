-- Jobs that a service does by itself, whoever asked for them and wherever; and the first of them: devices on their way out.

ALTER TABLE job DROP CONSTRAINT job_kind_check, DROP CONSTRAINT job_state_check,
    ADD CONSTRAINT job_kind_check CHECK (kind IN ('import', 'dry_run', 'export')),
    ADD CONSTRAINT job_state_check
        CHECK (state IN ('waiting', 'running', 'interrupted', 'done', 'failed', 'cancelled')),
    ADD COLUMN taken_at timestamptz,
    ADD COLUMN n_exported bigint NOT NULL DEFAULT 0,
    ADD COLUMN result_until timestamptz,
    ADD CONSTRAINT job_waits CHECK (state <> 'waiting' OR kind = 'export'),
    ADD CONSTRAINT job_result CHECK (result_until IS NULL OR (kind = 'export' AND state = 'done'));
COMMENT ON COLUMN job.kind IS 'import: a file of devices; dry_run: the same without making any; export: a file of devices on their way out, which a service writes by itself.';
COMMENT ON COLUMN job.state IS 'waiting: for a service to take it, from lease_until on; running: somebody works on it under the lease; interrupted: its file broke off, or who worked on it is gone, and the same call goes on with it; failed: an import that did nothing, and the same call begins again, or one that is over behind its first row; done, cancelled, and failed of an export: for good.';
COMMENT ON COLUMN job.line IS 'Of an import, the last line of the file that is done: everything up to it is committed and answered, nothing behind it is there. Of an export, how many devices are done.';
COMMENT ON COLUMN job.taken_at IS 'When a service took it last; null: never yet. Of its organization''s exports the latest says when that was served last.';
COMMENT ON COLUMN job.n_exported IS 'Devices that were written to the file.';
COMMENT ON COLUMN job.result_until IS 'Until when its file is kept, or null when there is none.';
CREATE INDEX job_to_do ON job (id) WHERE kind = 'export' AND state IN ('waiting', 'running');
CREATE INDEX job_served ON job (organization_id, taken_at) WHERE taken_at IS NOT NULL;
CREATE INDEX job_with_result ON job (result_until) WHERE result_until IS NOT NULL;
GRANT UPDATE (taken_at, n_exported, result_until) ON job TO cradle_activation;

CREATE TABLE export (
    job_id bigint PRIMARY KEY REFERENCES job,
    format text NOT NULL CHECK (format IN ('cradle-jsonl', 'tts-csv', 'thingpark-csv')),
    of_batch bigint REFERENCES batch,
    model text CHECK (octet_length(model) BETWEEN 1 AND 100),
    public_key text CHECK (octet_length(public_key) BETWEEN 1 AND 4096),
    request_id text NOT NULL CHECK (octet_length(request_id) BETWEEN 1 AND 40),
    last_dev_eui bytea NOT NULL DEFAULT '' CHECK (octet_length(last_dev_eui) IN (0, 8)),
    n_broken integer NOT NULL DEFAULT 0 CHECK (n_broken >= 0),
    CHECK ((public_key IS NOT NULL) = (format = 'cradle-jsonl'))
);
COMMENT ON TABLE export IS 'What an export is to write, and how far it is.';
COMMENT ON COLUMN export.job_id IS 'Which job.';
COMMENT ON COLUMN export.format IS 'What the file is; cradle-jsonl holds keys.';
COMMENT ON COLUMN export.of_batch IS 'Only devices of this batch; null: all that the organization has.';
COMMENT ON COLUMN export.model IS 'Device model that ThingPark''s file names.';
COMMENT ON COLUMN export.public_key IS 'RSA key of the organization''s, in PEM, that the device keys are sealed to.';
COMMENT ON COLUMN export.request_id IS 'The request that asked for it, for the events of its devices.';
COMMENT ON COLUMN export.last_dev_eui IS 'The last device that is done, in the order of DevEUIs; empty before the first.';
COMMENT ON COLUMN export.n_broken IS 'How many turns in a row a service has failed on it for no reason outside; a chunk that is done makes it 0.';
GRANT SELECT, INSERT ON export TO cradle_activation;
GRANT UPDATE (last_dev_eui, n_broken) ON export TO cradle_activation;

CREATE TABLE job_part (
    job_id bigint NOT NULL REFERENCES job,
    n integer NOT NULL CHECK (n > 0),
    bytes bytea NOT NULL,
    PRIMARY KEY (job_id, n)
);
COMMENT ON TABLE job_part IS 'The file that a job has written, in pieces. No key in clear is in it: keys are sealed to their owner''s public key.';
COMMENT ON COLUMN job_part.job_id IS 'Which job.';
COMMENT ON COLUMN job_part.n IS 'Order of the pieces, from 1.';
COMMENT ON COLUMN job_part.bytes IS 'One piece; whole lines.';
GRANT SELECT, INSERT, DELETE ON job_part TO cradle_activation;

-- Who waits for work hears of it, and who watches jobs of their progress.
CREATE FUNCTION job_changed() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('cradle_job', '');
    IF NEW.state = 'waiting' THEN
        PERFORM pg_notify('cradle_work', '');
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION job_changed() IS 'Notifies cradle_job of every change of a job, and cradle_work of one that waits to be done.';
CREATE TRIGGER job_changed AFTER INSERT OR UPDATE ON job FOR EACH ROW EXECUTE FUNCTION job_changed();

ALTER TABLE device ADD COLUMN exposed_since timestamptz;
COMMENT ON COLUMN device.exposed_since IS 'Since when its root keys are known outside, because they were exported. For ever: keys cannot be made unknown again.';
CREATE FUNCTION device_stays_exposed() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'device % stays exposed', encode(OLD.dev_eui, 'hex') USING ERRCODE = 'check_violation';
END
$$;
COMMENT ON FUNCTION device_stays_exposed() IS 'Refuses to take back, or to date anew, that a device''s keys are known outside.';
CREATE TRIGGER device_stays_exposed BEFORE UPDATE OF exposed_since ON device
    FOR EACH ROW WHEN (OLD.exposed_since IS NOT NULL AND NEW.exposed_since IS DISTINCT FROM OLD.exposed_since)
    EXECUTE FUNCTION device_stays_exposed();

-- What an organization has by now is walked chunk by chunk in the order of DevEUIs, all of it or that of a batch. Indexes of the two
-- columns alone, which nothing asks for, cannot do that without reading what is another's.
DROP INDEX device_organization, device_owner;
CREATE INDEX device_holder ON device ((coalesce(owner_id, organization_id)), dev_eui);
COMMENT ON INDEX device_holder IS 'What an organization has: what it owns, and what it has brought in and nobody owns.';
CREATE INDEX device_of_batch ON device (batch_id, (coalesce(owner_id, organization_id)), dev_eui) WHERE batch_id IS NOT NULL;
COMMENT ON INDEX device_of_batch IS 'The same of each batch.';

-- A device leaves with its numbers: the activation service may read them, and still write none.
GRANT SELECT (join_nonce, last_dev_nonce, nonce_epoch) ON device_join TO cradle_activation;
GRANT SELECT ON dev_nonce_page TO cradle_activation;
