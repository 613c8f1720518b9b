-- A maker's factory test: a device that nobody owns yet may join in a network that its maker names, so often and so long.

ALTER TABLE device
    ADD COLUMN test_net_id bytea CHECK (octet_length(test_net_id) = 3),
    ADD COLUMN test_as_id text CHECK (octet_length(test_as_id) BETWEEN 1 AND 64),
    ADD COLUMN test_max_joins smallint CHECK (test_max_joins > 0),
    ADD COLUMN test_opened_at timestamptz,
    ADD COLUMN test_until timestamptz,
    ADD CONSTRAINT device_test_window CHECK (
        (test_net_id IS NULL) = (test_until IS NULL) AND (test_net_id IS NULL) = (test_max_joins IS NULL)
        AND (test_net_id IS NULL) = (test_opened_at IS NULL)
        AND (test_net_id IS NOT NULL OR test_as_id IS NULL) AND (test_net_id IS NULL OR ownership = 'unowned'));
COMMENT ON COLUMN device.test_net_id IS 'Test window: NetID of the network that may have it join while nobody owns it; null: there is no window.';
COMMENT ON COLUMN device.test_as_id IS 'Test window: AS-ID of the application server whose KEK wraps the AppSKey; null: none was named.';
COMMENT ON COLUMN device.test_max_joins IS 'Test window: how many joins and rejoins are answered in it.';
COMMENT ON COLUMN device.test_opened_at IS 'Test window: when it was opened.';
COMMENT ON COLUMN device.test_until IS 'Test window: it is over from then on.';
CREATE INDEX device_tested ON device (batch_id, dev_eui) WHERE test_net_id IS NOT NULL;
COMMENT ON INDEX device_tested IS 'Windows of a batch, which are few.';

ALTER TABLE device_join ADD COLUMN test_joins smallint;
COMMENT ON COLUMN device_join.test_joins IS 'Joins and rejoins that were answered in the test window that is open now; null: none.';
GRANT UPDATE (test_joins) ON device_join TO cradle_join;
GRANT SELECT (test_joins) ON device_join TO cradle_activation;

ALTER TABLE join_event ADD COLUMN test_join smallint;
COMMENT ON COLUMN join_event.test_join IS 'Which join of a test window it was, from 1; null: of none, or refused.';

-- Whoever becomes the owner, however: the window ends in the transaction that makes him so; and so when the device is scrapped.
CREATE FUNCTION device_test_window_ends() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.test_net_id := NULL;
    NEW.test_as_id := NULL;
    NEW.test_max_joins := NULL;
    NEW.test_opened_at := NULL;
    NEW.test_until := NULL;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION device_test_window_ends() IS 'A test window is of a device that nobody owns, and that is not scrapped.';
CREATE TRIGGER device_test_window_ends BEFORE UPDATE OF ownership, ownership_epoch, credential ON device
    FOR EACH ROW WHEN (NEW.test_net_id IS NOT NULL AND (NEW.ownership <> 'unowned'
        OR NEW.ownership_epoch <> OLD.ownership_epoch OR NEW.credential = 'scrapped'))
    EXECUTE FUNCTION device_test_window_ends();

-- Not of columns: what the trigger above changes is in no SET.
CREATE FUNCTION device_test_window_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM public.device_sessions_end(OLD.dev_eui);
    UPDATE public.device_join SET test_joins = NULL WHERE dev_eui = OLD.dev_eui AND test_joins IS NOT NULL;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION device_test_window_changed() IS 'A join that was decided on the window of before loses its race; its sessions end with it, and what comes is counted from the start.';
CREATE TRIGGER device_test_window_changed AFTER UPDATE ON device
    FOR EACH ROW WHEN (
        (OLD.test_net_id, OLD.test_as_id, OLD.test_max_joins, OLD.test_opened_at, OLD.test_until)
        IS DISTINCT FROM
        (NEW.test_net_id, NEW.test_as_id, NEW.test_max_joins, NEW.test_opened_at, NEW.test_until))
    EXECUTE FUNCTION device_test_window_changed();

-- The triggers take the hot rows one by one, in the order in which an UPDATE happens to come upon the devices.
CREATE FUNCTION device_joins_hold(of_dev_euis bytea[]) RETURNS bigint
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT count(*) FROM (SELECT FROM public.device_join WHERE dev_eui = ANY(of_dev_euis)
        ORDER BY dev_eui FOR NO KEY UPDATE) AS held
$$;
COMMENT ON FUNCTION device_joins_hold(bytea[]) IS 'Locks the hot rows of devices that are about to be changed together, in the order in which the join server locks them; how many they are.';
GRANT EXECUTE ON FUNCTION device_joins_hold(bytea[]) TO cradle_activation;
