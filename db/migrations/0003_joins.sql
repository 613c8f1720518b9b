-- The memory of joins. The join server alone writes nonces.

CREATE TABLE device_join (
    -- The reference costs a join nothing: it is looked at only when dev_eui is written.
    dev_eui bytea PRIMARY KEY REFERENCES device,
    join_nonce integer NOT NULL DEFAULT 0 CHECK (join_nonce BETWEEN 0 AND 16777215),
    last_dev_nonce integer NOT NULL DEFAULT -1 CHECK (last_dev_nonce BETWEEN -1 AND 65535),
    rj_count1 integer NOT NULL DEFAULT -1 CHECK (rj_count1 BETWEEN -1 AND 65535),
    nonce_epoch bigint NOT NULL DEFAULT 0,
    gate_rev bigint NOT NULL DEFAULT 0,
    current_join_type smallint,
    current_join_nonce integer,
    current_nonce integer,
    current_net_id bytea,
    current_rj_count0 integer,
    pending_join_type smallint,
    pending_join_nonce integer,
    pending_nonce integer,
    pending_net_id bytea,
    pending_rj_count0 integer,
    retry_fingerprint bytea,
    retry_at timestamptz
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05);
COMMENT ON TABLE device_join IS 'The hot row of a device: one narrow update a join, no index but the key, room in the page (HOT).';
COMMENT ON COLUMN device_join.dev_eui IS 'Which device.';
COMMENT ON COLUMN device_join.join_nonce IS 'The last JoinNonce used; 0 before the first join. Grows by one with each and never goes back (LoRaWAN 1.1 6.2.3).';
COMMENT ON COLUMN device_join.last_dev_nonce IS 'Versions 1.0.4 and 1.1: the last DevNonce taken, -1 before the first (DevNonce of LoRaWAN 1.0.4; 1.1 6.2.2).';
COMMENT ON COLUMN device_join.rj_count1 IS 'The last RJcount1 taken of Rejoin-Request type 1, -1 before the first (LoRaWAN 1.1 6.2.4.2).';
COMMENT ON COLUMN device_join.nonce_epoch IS 'The device.nonce_epoch to which last_dev_nonce belongs; a join that finds an older one starts empty.';
COMMENT ON COLUMN device_join.gate_rev IS 'Bumped by every change of what the join gate looks at; a join commits only if it is still as it was read.';
COMMENT ON COLUMN device_join.current_join_type IS 'Session in use: JoinReqType of the request that made it (255 join, 0, 1, 2 rejoin); null: none.';
COMMENT ON COLUMN device_join.current_join_nonce IS 'Session in use: its JoinNonce.';
COMMENT ON COLUMN device_join.current_nonce IS 'Session in use: its DevNonce, RJcount0 or RJcount1.';
COMMENT ON COLUMN device_join.current_net_id IS 'Session in use: NetID in its Join-Accept.';
COMMENT ON COLUMN device_join.current_rj_count0 IS 'Session in use: last RJcount0 taken, null before the first (LoRaWAN 1.1 6.2.4.1).';
COMMENT ON COLUMN device_join.pending_join_type IS 'Session offered with OptNeg and not yet confirmed by the device: as current_join_type.';
COMMENT ON COLUMN device_join.pending_join_nonce IS 'Session offered: its JoinNonce.';
COMMENT ON COLUMN device_join.pending_nonce IS 'Session offered: its DevNonce, RJcount0 or RJcount1.';
COMMENT ON COLUMN device_join.pending_net_id IS 'Session offered: NetID in its Join-Accept.';
COMMENT ON COLUMN device_join.pending_rj_count0 IS 'Session offered: last RJcount0 taken, null before the first.';
COMMENT ON COLUMN device_join.retry_fingerprint IS 'Of the last join answered: a request that is the same to the byte within seconds gets the same answer again.';
COMMENT ON COLUMN device_join.retry_at IS 'When that was, by this database''s clock.';

CREATE TABLE dev_nonce_page (
    -- No reference to device: making a page would lock the device's row, and nothing deletes devices.
    dev_eui bytea NOT NULL,
    join_eui bytea NOT NULL,
    nonce_epoch bigint NOT NULL,
    page smallint NOT NULL CHECK (page BETWEEN 0 AND 31),
    newest smallint NOT NULL CHECK (newest BETWEEN 0 AND 2047),
    bits bytea NOT NULL CHECK (octet_length(bits) = 256),
    PRIMARY KEY (dev_eui, join_eui, nonce_epoch, page)
) WITH (fillfactor = 80);
-- A row is below the TOAST threshold anyway; PLAIN also spares the attempt to compress.
ALTER TABLE dev_nonce_page ALTER COLUMN bits SET STORAGE PLAIN;
COMMENT ON TABLE dev_nonce_page IS 'Random DevNonces (LoRaWAN 1.0.3 and older) remembered for ever: 32 pages of 2,048, each made on first use.';
COMMENT ON COLUMN dev_nonce_page.dev_eui IS 'Which device.';
COMMENT ON COLUMN dev_nonce_page.join_eui IS 'A DevNonce is used once for a JoinEUI (LoRaWAN 1.0.3 6.2.4).';
COMMENT ON COLUMN dev_nonce_page.nonce_epoch IS 'A newer epoch has pages of its own, which begin empty.';
COMMENT ON COLUMN dev_nonce_page.page IS 'DevNonce / 2048.';
COMMENT ON COLUMN dev_nonce_page.newest IS 'The bit that was set last; it carries the bit number into ON CONFLICT.';
COMMENT ON COLUMN dev_nonce_page.bits IS 'Bit DevNonce % 2048 as set_bit() counts; set: used.';

-- No reference to device or peer: history outlives both, and a join must not lock their rows.
CREATE TABLE join_event (
    at timestamptz NOT NULL,
    dev_eui bytea NOT NULL,
    join_eui bytea,
    join_type smallint NOT NULL,
    outcome text NOT NULL,
    reason text,
    peer_id bigint,
    sender_id text,
    net_id bytea,
    dev_addr bytea,
    dev_nonce integer,
    join_nonce integer,
    opt_neg boolean,
    fingerprint bytea,
    ownership_epoch bigint NOT NULL,
    nonce_epoch bigint
) PARTITION BY RANGE (at);
COMMENT ON TABLE join_event IS 'Every attempt on a known device, append only, a partition a month: history, explanation of refusals, the numbers from which session keys are derived again.';
COMMENT ON COLUMN join_event.at IS 'When its transaction began, by this database''s clock.';
COMMENT ON COLUMN join_event.dev_eui IS 'Which device.';
COMMENT ON COLUMN join_event.join_eui IS 'JoinEUI of the request.';
COMMENT ON COLUMN join_event.join_type IS '255 join; 0, 1, 2 rejoin of that type.';
COMMENT ON COLUMN join_event.outcome IS 'success, or the ResultCode that was answered (TS002-1.0 ResultCode).';
COMMENT ON COLUMN join_event.reason IS 'Why it was refused, for those entitled to know.';
COMMENT ON COLUMN join_event.peer_id IS 'The authenticated peer that asked.';
COMMENT ON COLUMN join_event.sender_id IS 'SenderID of the message (TS002-1.0).';
COMMENT ON COLUMN join_event.net_id IS 'NetID in the Join-Accept; null for a refusal.';
COMMENT ON COLUMN join_event.dev_addr IS 'DevAddr in the Join-Accept; null for a refusal.';
COMMENT ON COLUMN join_event.dev_nonce IS 'DevNonce, RJcount0 or RJcount1 of the request.';
COMMENT ON COLUMN join_event.join_nonce IS 'JoinNonce of the Join-Accept; null for a refusal. Once for a device: device_join is compared and set in the same statement.';
COMMENT ON COLUMN join_event.opt_neg IS 'OptNeg of the Join-Accept (LoRaWAN 1.1 6.2.3): how its keys are derived.';
COMMENT ON COLUMN join_event.fingerprint IS 'Of the whole request: tells after a lost connection whether this very join was committed.';
COMMENT ON COLUMN join_event.ownership_epoch IS 'Of the device, then: a later owner does not see it.';
COMMENT ON COLUMN join_event.nonce_epoch IS 'Of the device, then.';
CREATE INDEX join_event_device ON join_event (dev_eui, at);

-- Should a month ever be missing, a join is still not lost.
CREATE TABLE join_event_default PARTITION OF join_event DEFAULT;

CREATE FUNCTION join_event_partitions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
SET TimeZone = 'UTC'
AS $$
DECLARE
    first_month timestamptz := date_trunc('month', now());
    month timestamptz;
    next_month timestamptz;
    partition text;
    n_made integer := 0;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('join_event_partitions'));
    FOR i IN 0..2 LOOP
        month := first_month + make_interval(months => i);
        next_month := first_month + make_interval(months => i + 1);
        partition := 'join_event_' || to_char(month, 'YYYY_MM');
        CONTINUE WHEN to_regclass('public.' || partition) IS NOT NULL;
        -- Rows that went to the default partition meanwhile move to their month.
        LOCK TABLE public.join_event_default IN ACCESS EXCLUSIVE MODE;
        EXECUTE format('CREATE TABLE public.%I (LIKE public.join_event INCLUDING ALL)', partition);
        EXECUTE format('WITH moved AS (DELETE FROM public.join_event_default '
            'WHERE at >= %L AND at < %L RETURNING *) INSERT INTO public.%I SELECT * FROM moved',
            month, next_month, partition);
        EXECUTE format('ALTER TABLE public.join_event ATTACH PARTITION public.%I '
            'FOR VALUES FROM (%L) TO (%L)', partition, month, next_month);
        n_made := n_made + 1;
    END LOOP;
    RETURN n_made;
END
$$;
COMMENT ON FUNCTION join_event_partitions() IS 'Makes the partitions of join_event for this month and the next two; returns how many it made.';
SELECT join_event_partitions();

-- gate_rev: by triggers, so that no statement can forget it; SECURITY DEFINER, so that no service needs
-- a right on device_join for it. A transaction that changes several devices does it in DevEUI order,
-- as the join server locks them.
CREATE FUNCTION device_gate_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    UPDATE public.device_join SET gate_rev = gate_rev + 1 WHERE dev_eui = OLD.dev_eui;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION device_gate_changed() IS 'Bumps device_join.gate_rev: a join that was decided on what was there before loses its race.';

CREATE TRIGGER device_gate AFTER UPDATE OF credential, ownership, owner_id, ownership_epoch, service,
    trust, home_net_id, as_id, join_eui, mac_version, nonce_epoch ON device
    FOR EACH ROW WHEN (
        (OLD.credential, OLD.ownership, OLD.owner_id, OLD.ownership_epoch, OLD.service, OLD.trust,
            OLD.home_net_id, OLD.as_id, OLD.join_eui, OLD.mac_version, OLD.nonce_epoch)
        IS DISTINCT FROM
        (NEW.credential, NEW.ownership, NEW.owner_id, NEW.ownership_epoch, NEW.service, NEW.trust,
            NEW.home_net_id, NEW.as_id, NEW.join_eui, NEW.mac_version, NEW.nonce_epoch))
    EXECUTE FUNCTION device_gate_changed();
-- An INSERT needs no bump: no join can have been computed with a key that was not there.
CREATE TRIGGER device_key_gate AFTER UPDATE OR DELETE ON device_key
    FOR EACH ROW EXECUTE FUNCTION device_gate_changed();

GRANT SELECT ON device_join TO cradle_join;
GRANT UPDATE (join_nonce, last_dev_nonce, rj_count1, nonce_epoch,
    current_join_type, current_join_nonce, current_nonce, current_net_id, current_rj_count0,
    pending_join_type, pending_join_nonce, pending_nonce, pending_net_id, pending_rj_count0,
    retry_fingerprint, retry_at) ON device_join TO cradle_join;
GRANT SELECT, INSERT ON dev_nonce_page TO cradle_join;
GRANT UPDATE (newest, bits) ON dev_nonce_page TO cradle_join;
GRANT SELECT, INSERT ON join_event TO cradle_join;
GRANT EXECUTE ON FUNCTION join_event_partitions() TO cradle_join;
-- The activation service makes a device's hot row and can neither read nor write a nonce in it.
GRANT INSERT (dev_eui), SELECT (dev_eui, gate_rev) ON device_join TO cradle_activation;
GRANT SELECT ON join_event TO cradle_activation;
