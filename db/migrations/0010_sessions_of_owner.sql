-- Sessions that can rejoin: a third is kept, and each ends with what it stands on.

-- Two of which no answer is known to have been received, beside the one that the device proved last: a device that
-- missed one answer is still in the session before, whichever that is.
ALTER TABLE device_join
    ADD COLUMN previous_join_type smallint,
    ADD COLUMN previous_join_nonce integer,
    ADD COLUMN previous_nonce integer,
    ADD COLUMN previous_net_id bytea;
COMMENT ON COLUMN device_join.previous_join_type IS 'The session answered before the last, with OptNeg and not proved: as current_join_type.';
COMMENT ON COLUMN device_join.previous_join_nonce IS 'Session answered before: its JoinNonce.';
COMMENT ON COLUMN device_join.previous_nonce IS 'Session answered before: its DevNonce, RJcount0 or RJcount1.';
COMMENT ON COLUMN device_join.previous_net_id IS 'Session answered before: NetID in its Join-Accept.';
COMMENT ON COLUMN device_join.current_join_type IS 'The session that the device proved last by a Rejoin-Request of type 0 or 2, or while it proved none the oldest that is kept: JoinReqType of the request that made it (255 join, 0, 1, 2 rejoin); null: none. Only sessions made with OptNeg are kept.';
GRANT UPDATE (previous_join_type, previous_join_nonce, previous_nonce, previous_net_id)
    ON device_join TO cradle_join;

-- A session ends with what it stands on: its owner, its JoinEUI, its root keys. Whoever had the keys of one
-- before, as the network of a former owner has, can rejoin in it no more.

CREATE OR REPLACE FUNCTION device_gate_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF (OLD.ownership_epoch, OLD.join_eui) IS DISTINCT FROM (NEW.ownership_epoch, NEW.join_eui) THEN
        PERFORM public.device_sessions_end(OLD.dev_eui);
    ELSE
        UPDATE public.device_join SET gate_rev = gate_rev + 1 WHERE dev_eui = OLD.dev_eui;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION device_sessions_end(of_dev_eui bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    UPDATE public.device_join SET gate_rev = gate_rev + 1,
        current_join_type = NULL, current_join_nonce = NULL, current_nonce = NULL, current_net_id = NULL,
        current_rj_count0 = NULL,
        pending_join_type = NULL, pending_join_nonce = NULL, pending_nonce = NULL, pending_net_id = NULL,
        pending_rj_count0 = NULL,
        previous_join_type = NULL, previous_join_nonce = NULL, previous_nonce = NULL, previous_net_id = NULL
    WHERE dev_eui = of_dev_eui
$$;
COMMENT ON FUNCTION device_sessions_end(bytea) IS 'Forgets the sessions that could rejoin, and bumps gate_rev.';

CREATE FUNCTION device_key_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM public.device_sessions_end(OLD.dev_eui);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION device_key_changed() IS 'A session was derived from the keys that were there.';
DROP TRIGGER device_key_gate ON device_key;
CREATE TRIGGER device_key_gate AFTER UPDATE OR DELETE ON device_key
    FOR EACH ROW EXECUTE FUNCTION device_key_changed();

-- What stands there from before 0008 may be a session without OptNeg.
UPDATE device_join SET current_join_type = NULL, current_join_nonce = NULL, current_nonce = NULL, current_net_id = NULL
WHERE current_join_nonce IS NOT NULL AND current_rj_count0 IS NULL;
