-- Jobs: long work that is told by lines, goes on where it stood, and is answered line by line.

CREATE TABLE job (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id bytea NOT NULL UNIQUE DEFAULT decode(replace(gen_random_uuid()::text, '-', ''), 'hex')
        CHECK (octet_length(public_id) = 16),
    organization_id bigint NOT NULL REFERENCES organization,
    client_id bytea NOT NULL REFERENCES client,
    kind text NOT NULL CHECK (kind IN ('import', 'dry_run')),
    state text NOT NULL CHECK (state IN ('running', 'interrupted', 'done', 'failed', 'cancelled')),
    idempotency_key text CHECK (octet_length(idempotency_key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    batch_id bigint REFERENCES batch,
    lease_until timestamptz NOT NULL,
    turn integer NOT NULL DEFAULT 0,
    line bigint NOT NULL DEFAULT 0 CHECK (line >= 0),
    digest bytea CHECK (octet_length(digest) = 32),
    n_created bigint NOT NULL DEFAULT 0,
    n_exists bigint NOT NULL DEFAULT 0,
    n_refused bigint NOT NULL DEFAULT 0,
    n_warned bigint NOT NULL DEFAULT 0,
    n_kept bigint NOT NULL DEFAULT 0 CHECK (n_kept >= 0),
    report_deleted_at timestamptz,
    fault text CHECK (octet_length(fault) <= 500),
    cancel_wanted boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    changed_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (client_id, idempotency_key)
);
COMMENT ON TABLE job IS 'Long work: what it is, how far it is, who may do it now.';
COMMENT ON COLUMN job.id IS 'Number inside this database.';
COMMENT ON COLUMN job.public_id IS 'The id that the world sees, 16 random bytes.';
COMMENT ON COLUMN job.organization_id IS 'Whose job it is.';
COMMENT ON COLUMN job.client_id IS 'Who asked for it.';
COMMENT ON COLUMN job.kind IS 'import: a file of devices; dry_run: the same without making any.';
COMMENT ON COLUMN job.state IS 'running: somebody works on it under the lease; interrupted: its file broke off, or who worked on it is gone, and the same call goes on with it; failed: nothing was done, and the same call begins again, or it is over behind its first row; done, cancelled: for good.';
COMMENT ON COLUMN job.idempotency_key IS 'Idempotency-Key of the call, which finds it again; null: none was given.';
COMMENT ON COLUMN job.fingerprint IS 'SHA-256 of the call without its body: the same key with another call is refused.';
COMMENT ON COLUMN job.batch_id IS 'The batch that its devices are of; null for a dry run.';
COMMENT ON COLUMN job.lease_until IS 'Until when whoever works on it is alone; renewed with each chunk, and while lines that are done are read again. Later anybody may interrupt it.';
COMMENT ON COLUMN job.turn IS 'How often somebody has taken it: only who did last may go on with it, or end it.';
COMMENT ON COLUMN job.line IS 'The last line of the file that is done: everything up to it is committed and answered, nothing behind it is there.';
COMMENT ON COLUMN job.digest IS 'SHA-256 of the file from its first byte to the end of that line, without what ends the line; of one that is done, of the whole file. Who goes on with the job must send the same. Null before the first line, and without an Idempotency-Key.';
COMMENT ON COLUMN job.n_created IS 'Rows that made a device, or would have.';
COMMENT ON COLUMN job.n_exists IS 'Rows whose device was there already.';
COMMENT ON COLUMN job.n_refused IS 'Rows refused.';
COMMENT ON COLUMN job.n_warned IS 'Rows with a warning, whatever became of them.';
COMMENT ON COLUMN job.n_kept IS 'Rows of job_row that it has: what an organization has of them in all is added up from these.';
COMMENT ON COLUMN job.report_deleted_at IS 'Since when its report is given no more; its rows of job_row are deleted bit by bit.';
COMMENT ON COLUMN job.fault IS 'Why it is interrupted or has failed, naming the line.';
COMMENT ON COLUMN job.cancel_wanted IS 'It is to stop at the next chunk; what is done stays done.';
COMMENT ON COLUMN job.created_at IS 'When it was asked for.';
COMMENT ON COLUMN job.changed_at IS 'When it last moved on.';
CREATE INDEX job_organization ON job (organization_id, id);
CREATE INDEX job_running ON job (lease_until) WHERE state = 'running';
CREATE INDEX job_kept ON job (organization_id) INCLUDE (n_kept) WHERE n_kept > 0;
CREATE INDEX job_with_report ON job (kind, created_at) WHERE report_deleted_at IS NULL;
CREATE INDEX job_to_empty ON job (id) WHERE report_deleted_at IS NOT NULL AND n_kept > 0;

CREATE TABLE job_row (
    job_id bigint NOT NULL REFERENCES job,
    line bigint NOT NULL,
    dev_eui bytea CHECK (octet_length(dev_eui) = 8),
    outcome text NOT NULL CHECK (outcome IN ('created', 'exists', 'refused')),
    lints bigint NOT NULL,
    PRIMARY KEY (job_id, line)
);
COMMENT ON TABLE job_row IS 'What a row of a file came to, where there is more to say than that it made a device: that is said by device.batch_line.';
COMMENT ON COLUMN job_row.job_id IS 'Which job.';
COMMENT ON COLUMN job_row.line IS 'Line of the file, from 1.';
COMMENT ON COLUMN job_row.dev_eui IS 'DevEUI, where one could be read.';
COMMENT ON COLUMN job_row.outcome IS 'created, exists or refused.';
COMMENT ON COLUMN job_row.lints IS 'Bits of what the linter said of it (activation/import_lint.h).';

GRANT SELECT, INSERT ON job, job_row TO cradle_activation;
GRANT DELETE ON job_row TO cradle_activation;
GRANT UPDATE (state, batch_id, lease_until, turn, line, digest, n_created, n_exists, n_refused, n_warned, n_kept, fault, cancel_wanted,
    changed_at, report_deleted_at) ON job TO cradle_activation;

ALTER TABLE device
    ADD COLUMN batch_line bigint CHECK (batch_line > 0),
    ADD COLUMN serial text CHECK (octet_length(serial) BETWEEN 1 AND 64),
    ADD COLUMN name text CHECK (octet_length(name) BETWEEN 1 AND 100);
COMMENT ON COLUMN device.batch_line IS 'Line of the batch''s file that made it.';
COMMENT ON COLUMN device.serial IS 'The maker''s serial number.';
COMMENT ON COLUMN device.name IS 'Name for people.';
DROP INDEX device_batch;
CREATE INDEX device_batch ON device (batch_id, batch_line);

ALTER TABLE device_key ADD COLUMN fingerprint bytea CHECK (octet_length(fingerprint) = 16);
COMMENT ON COLUMN device_key.fingerprint IS 'Equal for equal keys; made in the HSM with a key of its own, so that nobody else can try guesses (base/sealed.h).';
-- Nothing reads the check value of a device's key, and 24 bits of it in clear let whoever has the database rule out guesses
-- that the fingerprint, which needs the HSM, gives no hold on. KEKs keep theirs in the token.
ALTER TABLE device_key DROP COLUMN kcv;
CREATE INDEX device_key_fingerprint ON device_key (fingerprint) WHERE fingerprint IS NOT NULL;

-- A device that has counted elsewhere comes with its numbers: with its own insert, and never again after it.
GRANT INSERT (join_nonce, last_dev_nonce) ON device_join TO cradle_activation;
GRANT INSERT ON dev_nonce_page TO cradle_activation;
