-- Signs of a clone or an attack: found in what joins left behind, weighed, and forgotten with time.

-- New rows of join_event are read by time: refusals, which are written in bulk and after their answer, by an index of their own. Joins
-- are read once in a quarter of an hour; a block range index costs an insert a look into its map and nothing else: there is no entry for
-- a row, and a range of pages is summed up once, by autovacuum, when it is full.
CREATE INDEX join_event_refused_for ON join_event (reason, at) WHERE outcome <> 'success';
COMMENT ON INDEX join_event_refused_for IS 'What was refused for one reason between two moments, of all devices.';
CREATE INDEX join_event_refused_frame ON join_event (dev_eui, dev_nonce, at) WHERE outcome <> 'success';
COMMENT ON INDEX join_event_refused_frame IS 'Whether a refused frame came before.';
CREATE INDEX join_event_at ON join_event USING brin (at) WITH (pages_per_range = 1024, autosummarize = on);
COMMENT ON INDEX join_event_at IS 'What came between two moments.';

ALTER TABLE trust_signal
    ADD COLUMN id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ADD COLUMN judged boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT trust_signal_kind_check,
    ADD CONSTRAINT trust_signal_kind_check CHECK (kind IN ('dev_nonce_series', 'dev_nonce_lower', 'dev_nonce_jump', 'rj_count_lower',
        'join_rate', 'two_networks', 'suspended_join', 'shared_key'));
COMMENT ON TABLE trust_signal IS 'What speaks for a device being cloned or attacked. How much each weighs, and how fast that fades, is in device/signal.c.';
COMMENT ON COLUMN trust_signal.id IS 'Number inside this database.';
COMMENT ON COLUMN trust_signal.judged IS 'Whether the device''s trust was looked at since.';
COMMENT ON COLUMN trust_signal.kind IS 'By its name in device/signal.c, which says what it means.';
COMMENT ON COLUMN trust_signal.from_value IS 'What it is measured by: the last DevNonce or RJcount1 that was taken; the joins that are usual; 0 where there is none.';
COMMENT ON COLUMN trust_signal.to_value IS 'What was seen: a DevNonce, an RJcount1, joins, network servers, devices with the key.';
CREATE INDEX trust_signal_new ON trust_signal (id) WHERE NOT judged;
CREATE INDEX trust_signal_at ON trust_signal (at);
GRANT INSERT, DELETE ON trust_signal TO cradle_activation;
GRANT UPDATE (judged) ON trust_signal TO cradle_activation;

CREATE TABLE trust_scan (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    looked_from timestamptz NOT NULL DEFAULT now(),
    looked_until timestamptz NOT NULL DEFAULT now(),
    fence_at timestamptz NOT NULL DEFAULT now(),
    fence_xid xid8 NOT NULL DEFAULT '0'
);
COMMENT ON TABLE trust_scan IS 'How far join_event was looked through for signals: one row, whose lock one service at a time holds.';
COMMENT ON COLUMN trust_scan.one IS 'There is one row.';
COMMENT ON COLUMN trust_scan.looked_from IS 'Where the last look began.';
COMMENT ON COLUMN trust_scan.looked_until IS 'All that is older was looked at.';
COMMENT ON COLUMN trust_scan.fence_at IS 'What is older may be looked at when all transactions before fence_xid have ended.';
COMMENT ON COLUMN trust_scan.fence_xid IS 'Of the transaction that set it: one that had written by then has a smaller number.';
INSERT INTO trust_scan DEFAULT VALUES;
GRANT SELECT ON trust_scan TO cradle_activation;
GRANT UPDATE (looked_from, looked_until, fence_at, fence_xid) ON trust_scan TO cradle_activation;

ALTER TABLE device
    ADD COLUMN trust_since timestamptz,
    ADD COLUMN trust_look_at timestamptz,
    DROP CONSTRAINT device_quarantined_by_check,
    ADD CONSTRAINT device_quarantined_by_check CHECK (quarantined_by IN ('holder', 'operator', 'service'));
COMMENT ON COLUMN device.trust_since IS 'Signals of before do not count: when its holder last trusted it again, or had its nonces reset; null: never.';
COMMENT ON COLUMN device.trust_look_at IS 'Of a suspect device: when to look whether its signals have faded.';
COMMENT ON COLUMN device.quarantined_by IS 'holder: its owner or, while it has none, its maker; operator: of this service; service: by its signals, as its owner wished. Null without a quarantine, and for one that was not asked for.';
CREATE INDEX device_trust_look ON device (trust_look_at) WHERE trust_look_at IS NOT NULL;

ALTER TABLE organization ADD COLUMN quarantine_clones boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN organization.quarantine_clones IS 'Whether its devices are put into quarantine where their signals weigh enough.';
GRANT UPDATE (quarantine_clones) ON organization TO cradle_activation;

COMMENT ON COLUMN webhook.events IS 'Types that are wanted, a bit each: 1 device.claimed, 2 claim.refused, 4 batch.done, 8 device.first_join, 16 device.offered, 32 device.quarantined, 64 device.suspect.';

-- The maker is told, too: a key that got about is his matter, whoever has the device.
CREATE FUNCTION webhook_device_suspect() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM public.webhook_tell(NEW.organization_id, 64, 'device.suspect', now(),
        jsonb_build_object('dev_eui', encode(NEW.dev_eui, 'hex')));
    IF NEW.owner_id <> NEW.organization_id THEN
        PERFORM public.webhook_tell(NEW.owner_id, 64, 'device.suspect', now(),
            jsonb_build_object('dev_eui', encode(NEW.dev_eui, 'hex')));
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_device_suspect() IS 'Tells owner and maker that a device has become suspect.';
CREATE TRIGGER webhook_device_suspect AFTER UPDATE OF trust ON device
    FOR EACH ROW WHEN (NEW.trust = 'suspect' AND OLD.trust = 'ok') EXECUTE FUNCTION webhook_device_suspect();

COMMENT ON COLUMN audit_event.client_id IS 'Who did it; null: the cradle command, on this database itself, or a service of its own accord.';
COMMENT ON COLUMN audit_event.request_id IS 'X-Request-Id of the call; of a job that a service interrupts, "lease-" with the job''s number and turn; of a device whose trust it judges, "trust-" with its DevEUI.';
