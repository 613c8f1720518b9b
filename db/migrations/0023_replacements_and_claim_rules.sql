-- Devices that took the place of others, and rules by which devices of a batch become an owner's without a code.

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

-- Rules by which devices of a batch become an owner's without a code.

CREATE TABLE claim_rule (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id bytea NOT NULL UNIQUE DEFAULT decode(replace(gen_random_uuid()::text, '-', ''), 'hex')
        CHECK (octet_length(public_id) = 16),
    batch_id bigint NOT NULL REFERENCES batch,
    from_id bigint NOT NULL REFERENCES organization,
    to_id bigint NOT NULL REFERENCES organization,
    state text NOT NULL DEFAULT 'open'
        CHECK (state IN ('open', 'active', 'full', 'declined', 'cancelled', 'expired')),
    is_listed boolean NOT NULL,
    max_devices integer NOT NULL CHECK (max_devices > 0),
    n_used integer NOT NULL DEFAULT 0 CHECK (n_used BETWEEN 0 AND max_devices),
    home_net_id bytea CHECK (octet_length(home_net_id) = 3),
    as_id text CHECK (octet_length(as_id) BETWEEN 1 AND 64),
    accepted_by bytea REFERENCES client,
    due_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT claim_rule_accepted CHECK (state NOT IN ('active', 'full') OR accepted_by IS NOT NULL),
    CONSTRAINT claim_rule_home CHECK ((home_net_id IS NULL) = (as_id IS NULL))
);
COMMENT ON TABLE claim_rule IS 'A maker''s word that devices of a batch are an owner''s, who has to accept it once: they become his when they are activable.';
COMMENT ON COLUMN claim_rule.id IS 'Order of making.';
COMMENT ON COLUMN claim_rule.public_id IS 'Its name outside; the name of the call that made the codes of its devices.';
COMMENT ON COLUMN claim_rule.batch_id IS 'Of which batch.';
COMMENT ON COLUMN claim_rule.from_id IS 'The maker, who made it.';
COMMENT ON COLUMN claim_rule.to_id IS 'The owner, who accepts it.';
COMMENT ON COLUMN claim_rule.state IS 'open: not accepted yet; active: it claims; full: it has claimed as many as it may; cancelled: by either, after it was accepted or by the maker.';
COMMENT ON COLUMN claim_rule.is_listed IS 'Whether it names devices; else all of the batch are meant.';
COMMENT ON COLUMN claim_rule.max_devices IS 'How many it may claim.';
COMMENT ON COLUMN claim_rule.n_used IS 'How many it has claimed; grows in the transaction of the claims, and the row is locked for it.';
COMMENT ON COLUMN claim_rule.home_net_id IS 'Home network of what it claims: what the maker proposed, until it is accepted.';
COMMENT ON COLUMN claim_rule.as_id IS 'Application server of what it claims; likewise.';
COMMENT ON COLUMN claim_rule.accepted_by IS 'Which client of the owner accepted it.';
COMMENT ON COLUMN claim_rule.due_at IS 'When it is looked at next for devices that it may claim.';
COMMENT ON COLUMN claim_rule.used_at IS 'When it was accepted or claimed something last: the longer ago, the more seldom it is looked at.';
COMMENT ON COLUMN claim_rule.created_at IS 'When it was made.';
COMMENT ON COLUMN claim_rule.expires_at IS 'It claims nothing from then on, by this database''s clock.';
COMMENT ON COLUMN claim_rule.changed_at IS 'When its state became what it is.';
CREATE INDEX claim_rule_due ON claim_rule (due_at) WHERE state = 'active';
CREATE INDEX claim_rule_expiry ON claim_rule (expires_at) WHERE state IN ('open', 'active');
CREATE INDEX claim_rule_batch ON claim_rule (batch_id) WHERE state = 'active';
CREATE INDEX claim_rule_from ON claim_rule (from_id, id);
CREATE INDEX claim_rule_to ON claim_rule (to_id, id);
GRANT SELECT, INSERT ON claim_rule TO cradle_activation;
GRANT UPDATE (state, n_used, home_net_id, as_id, accepted_by, due_at, used_at, changed_at) ON claim_rule TO cradle_activation;

CREATE TABLE claim_rule_range (
    rule_id bigint NOT NULL REFERENCES claim_rule,
    first bytea NOT NULL CHECK (octet_length(first) = 8),
    last bytea NOT NULL CHECK (octet_length(last) = 8),
    PRIMARY KEY (rule_id, first),
    CHECK (first <= last)
);
COMMENT ON TABLE claim_rule_range IS 'Which devices of its batch a rule may claim; ranges do not overlap. Of a rule without a list, one range with all DevEUIs.';
COMMENT ON COLUMN claim_rule_range.rule_id IS 'Which rule.';
COMMENT ON COLUMN claim_rule_range.first IS 'The first DevEUI of a range.';
COMMENT ON COLUMN claim_rule_range.last IS 'The last one, which may be the same.';
GRANT SELECT, INSERT ON claim_rule_range TO cradle_activation;

-- What rules look through, and nothing else: so a look costs what there is to claim. A device that had an owner is not in it, for it may have been sold on.
CREATE INDEX device_never_owned ON device (batch_id, dev_eui)
    WHERE credential = 'activable' AND ownership = 'unowned' AND ownership_epoch = 0 AND trust <> 'quarantined';

-- For whatever makes devices of a batch activable: its rules are looked at now, not when they are due.
CREATE FUNCTION claim_rule_wake(of_batch bigint) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE public.claim_rule SET due_at = now(), used_at = now() WHERE batch_id = of_batch AND state = 'active';
    IF FOUND THEN
        PERFORM pg_notify('cradle_work', '');
    END IF;
END
$$;
COMMENT ON FUNCTION claim_rule_wake(bigint) IS 'Has the active rules of a batch looked at soon after this transaction''s end.';
GRANT EXECUTE ON FUNCTION claim_rule_wake(bigint) TO cradle_activation;

CREATE FUNCTION claim_rule_imported() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM public.claim_rule_wake(NEW.batch_id);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION claim_rule_imported() IS 'An import has ended: the last of its devices are there.';
CREATE TRIGGER claim_rule_imported AFTER UPDATE OF state ON job FOR EACH ROW
    WHEN (NEW.kind = 'import' AND NEW.state <> OLD.state AND NEW.state IN ('done', 'failed', 'cancelled') AND NEW.batch_id IS NOT NULL)
    EXECUTE FUNCTION claim_rule_imported();

CREATE FUNCTION claim_rule_accepted() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('cradle_work', '');
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION claim_rule_accepted() IS 'Notifies cradle_work of a rule that may claim devices now.';
CREATE TRIGGER claim_rule_accepted AFTER UPDATE OF state ON claim_rule FOR EACH ROW
    WHEN (NEW.state = 'active' AND OLD.state <> 'active') EXECUTE FUNCTION claim_rule_accepted();
