-- Moves of many devices as jobs, and claim codes of two lengths.

ALTER TABLE organization ADD COLUMN claim_code_length smallint NOT NULL DEFAULT 16 CHECK (claim_code_length IN (16, 26));
COMMENT ON COLUMN organization.claim_code_length IS 'Characters of the claim codes that are made for it: 16 hexadecimal digits (64 bits), or 26 of Crockford''s base 32 (130 bits).';
GRANT UPDATE (claim_code_length) ON organization TO cradle_activation;

ALTER TABLE job DROP CONSTRAINT job_kind_check, DROP CONSTRAINT job_waits,
    ADD CONSTRAINT job_kind_check CHECK (kind IN ('import', 'dry_run', 'export', 'move')),
    ADD CONSTRAINT job_waits CHECK (state <> 'waiting' OR kind IN ('export', 'move')),
    ADD COLUMN move text,
    ADD COLUMN n_rows bigint CHECK (n_rows >= 0),
    ADD COLUMN n_moved bigint NOT NULL DEFAULT 0 CHECK (n_moved >= 0),
    ADD CONSTRAINT job_moves CHECK ((kind = 'move') = (move IS NOT NULL));
COMMENT ON COLUMN job.kind IS 'import: a file of devices; dry_run: the same without making any; export: a file of devices on their way out, which a service writes by itself; move: devices that are moved, by a service too.';
COMMENT ON COLUMN job.line IS 'Of an import, the last line of the file that is done: everything up to it is committed and answered, nothing behind it is there. Of an export or a move, how many devices are done.';
COMMENT ON COLUMN job.taken_at IS 'When a service took it last; null: never yet. Of its organization''s jobs the latest says when that was served last.';
COMMENT ON COLUMN job.move IS 'Which move of device/moves.h; null of other kinds.';
COMMENT ON COLUMN job.n_rows IS 'How many devices it is about, where that is known from the beginning.';
COMMENT ON COLUMN job.n_moved IS 'Devices that were moved.';
GRANT UPDATE (n_rows, n_moved) ON job TO cradle_activation;

DROP INDEX job_to_do;
CREATE INDEX job_to_do ON job (kind, id) WHERE kind IN ('export', 'move') AND state IN ('waiting', 'running');

CREATE TABLE move (
    job_id bigint PRIMARY KEY REFERENCES job,
    as_operator boolean NOT NULL,
    rebinds boolean NOT NULL,
    home_net_id bytea CHECK (octet_length(home_net_id) = 3),
    as_id text CHECK (octet_length(as_id) BETWEEN 1 AND 64),
    to_id bigint REFERENCES organization,
    lifetime_s bigint NOT NULL DEFAULT 0 CHECK (lifetime_s >= 0),
    request_id text NOT NULL CHECK (octet_length(request_id) BETWEEN 1 AND 40),
    n_broken integer NOT NULL DEFAULT 0 CHECK (n_broken >= 0)
);
COMMENT ON TABLE move IS 'What a job that moves devices needs to know of its move.';
COMMENT ON COLUMN move.job_id IS 'Which job.';
COMMENT ON COLUMN move.as_operator IS 'Whoever asked may quarantine any device, and lift it.';
COMMENT ON COLUMN move.rebinds IS 'The devices get the home that stands here, or none.';
COMMENT ON COLUMN move.home_net_id IS 'Their network from then on.';
COMMENT ON COLUMN move.as_id IS 'Their application server from then on.';
COMMENT ON COLUMN move.to_id IS 'Who they are offered to.';
COMMENT ON COLUMN move.lifetime_s IS 'For how long, in seconds.';
COMMENT ON COLUMN move.request_id IS 'The request that asked for it, for the events of its devices.';
COMMENT ON COLUMN move.n_broken IS 'How many turns in a row a service has failed on it for no reason outside; a chunk that is done makes it 0.';
GRANT SELECT, INSERT ON move TO cradle_activation;
GRANT UPDATE (n_broken) ON move TO cradle_activation;

-- Whether such a device is here, and whose it is, is asked when its turn comes.
CREATE TABLE move_device (
    job_id bigint NOT NULL REFERENCES job,
    line bigint NOT NULL CHECK (line > 0),
    dev_eui bytea NOT NULL CHECK (octet_length(dev_eui) = 8),
    PRIMARY KEY (job_id, line)
);
COMMENT ON TABLE move_device IS 'Devices that a job is to move, until it has ended; what became of them stands in job_row.';
COMMENT ON COLUMN move_device.job_id IS 'Which job.';
COMMENT ON COLUMN move_device.line IS 'Their order, from 1.';
COMMENT ON COLUMN move_device.dev_eui IS 'Which device, as it was asked for.';
GRANT SELECT, INSERT, DELETE ON move_device TO cradle_activation;

ALTER TABLE job_row DROP CONSTRAINT job_row_outcome_check,
    ADD CONSTRAINT job_row_outcome_check CHECK (outcome IN ('created', 'exists', 'refused', 'moved'));
COMMENT ON TABLE job_row IS 'What a row of a job came to; of an import, where there is more to say than that it made a device: that is said by device.batch_line.';
COMMENT ON COLUMN job_row.outcome IS 'created, exists, refused, or moved.';
COMMENT ON COLUMN job_row.lints IS 'Bits of what the linter said of it (activation/import_lint.h), or of why it was not exported (activation/export_run.h); of a move that was refused, the number of why (activation/mover.h).';
