-- Devices that took the place of others.

-- Both epochs are part of it, so it ends by itself when either device has another owner, and nobody learns from a device what became of one that was never his.
CREATE TABLE replacement (
    dev_eui bytea NOT NULL REFERENCES device,
    epoch bigint NOT NULL,
    by_dev_eui bytea NOT NULL REFERENCES device,
    by_epoch bigint NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (dev_eui, epoch),
    CONSTRAINT replacement_by UNIQUE (by_dev_eui, by_epoch),
    CHECK (dev_eui <> by_dev_eui)
);
COMMENT ON TABLE replacement IS 'Devices of an owner that another of his devices has replaced: once at most, and each replaces one at most.';
COMMENT ON COLUMN replacement.dev_eui IS 'The one that was replaced.';
COMMENT ON COLUMN replacement.epoch IS 'Its ownership_epoch then.';
COMMENT ON COLUMN replacement.by_dev_eui IS 'The one that took its place.';
COMMENT ON COLUMN replacement.by_epoch IS 'Its ownership_epoch then.';
COMMENT ON COLUMN replacement.at IS 'When.';
GRANT SELECT, INSERT, DELETE ON replacement TO cradle_activation;
