-- Two-sided transfer: an owner offers a device to an organization, which accepts or does not.

CREATE TABLE offer (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id bytea NOT NULL UNIQUE DEFAULT decode(replace(gen_random_uuid()::text, '-', ''), 'hex')
        CHECK (octet_length(public_id) = 16),
    dev_eui bytea NOT NULL REFERENCES device,
    from_id bigint NOT NULL REFERENCES organization,
    to_id bigint NOT NULL REFERENCES organization,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'accepted', 'declined', 'withdrawn', 'expired')),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    CHECK (from_id <> to_id)
);
COMMENT ON TABLE offer IS 'Devices that their owners offered to another organization, and what became of it.';
COMMENT ON COLUMN offer.id IS 'Order of making.';
COMMENT ON COLUMN offer.public_id IS 'Its name outside.';
COMMENT ON COLUMN offer.dev_eui IS 'Which device.';
COMMENT ON COLUMN offer.from_id IS 'Its owner then.';
COMMENT ON COLUMN offer.to_id IS 'Who may accept it.';
COMMENT ON COLUMN offer.state IS 'open: the device is offered; withdrawn: by who made it.';
COMMENT ON COLUMN offer.created_at IS 'When it was made.';
COMMENT ON COLUMN offer.expires_at IS 'It cannot be accepted from then on.';
COMMENT ON COLUMN offer.changed_at IS 'When its state became what it is.';
CREATE UNIQUE INDEX offer_open ON offer (dev_eui) WHERE state = 'open';
CREATE INDEX offer_due ON offer (expires_at) WHERE state = 'open';
CREATE INDEX offer_from ON offer (from_id, id);
CREATE INDEX offer_to ON offer (to_id, id);
GRANT SELECT, INSERT ON offer TO cradle_activation;
GRANT UPDATE (state, changed_at) ON offer TO cradle_activation;
