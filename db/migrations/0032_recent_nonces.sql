-- The newest random DevNonces of a device stand in its hot row; pages hold what no longer has room there.

-- What a page costs is its row, made for a DevNonce or two: 256 bytes, an index entry and a look-up for every join. A device that has
-- drawn few has none now, and of one that has drawn many, pages change once in 32 joins.
ALTER TABLE device_join
    ADD COLUMN recent_join_eui bytea,
    ADD COLUMN recent_nonces bytea NOT NULL DEFAULT '',
    ADD COLUMN has_pages boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN device_join.recent_join_eui IS 'The JoinEUI that recent_nonces were used for; null: there was none yet.';
COMMENT ON COLUMN device_join.recent_nonces IS 'Up to 32 random DevNonces that are in no page, the newest first, 2 bytes each, most significant first; of nonce_epoch and recent_join_eui.';
COMMENT ON COLUMN device_join.has_pages IS 'Whether DevNonces of this device may be in pages, of any JoinEUI and epoch. True unless said otherwise, so that none is overlooked.';
UPDATE device_join SET has_pages = true WHERE dev_eui IN (SELECT dev_eui FROM dev_nonce_page);
ALTER TABLE device_join ALTER COLUMN has_pages SET DEFAULT true;

-- By a trigger, so that no statement can forget a DevNonce. The row is locked by the join that drops them from the list, and whoever
-- else would change its pages waits for that lock and then finds another join_nonce. An update that changes nothing but a bit logs
-- nothing but its byte.
CREATE FUNCTION dev_nonces_to_pages() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    nonce integer;
BEGIN
    IF NOT NEW.has_pages THEN
        RAISE EXCEPTION 'device_join.has_pages is not set while DevNonces go to pages';
    END IF;
    FOR i IN 0 .. octet_length(OLD.recent_nonces) / 2 - 1 LOOP
        nonce := get_byte(OLD.recent_nonces, 2 * i) * 256 + get_byte(OLD.recent_nonces, 2 * i + 1);
        UPDATE public.dev_nonce_page SET bits = set_bit(bits, nonce % 2048, 1)
            WHERE dev_eui = OLD.dev_eui AND join_eui = OLD.recent_join_eui AND nonce_epoch = OLD.nonce_epoch AND page = nonce / 2048;
        IF NOT FOUND THEN
            INSERT INTO public.dev_nonce_page (dev_eui, join_eui, nonce_epoch, page, newest, bits)
                VALUES (OLD.dev_eui, OLD.recent_join_eui, OLD.nonce_epoch, nonce / 2048, nonce % 2048,
                    set_bit(decode(repeat('00', 256), 'hex'), nonce % 2048, 1));
        END IF;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION dev_nonces_to_pages() IS 'DevNonces that leave device_join.recent_nonces go to their pages.';
CREATE TRIGGER dev_nonces_to_pages AFTER UPDATE ON device_join
    FOR EACH ROW WHEN (OLD.recent_nonces <> '' AND (NEW.nonce_epoch <> OLD.nonce_epoch
        OR NEW.recent_join_eui IS DISTINCT FROM OLD.recent_join_eui
        OR substr(NEW.recent_nonces, 1 + octet_length(NEW.recent_nonces) - octet_length(OLD.recent_nonces)) <> OLD.recent_nonces))
    EXECUTE FUNCTION dev_nonces_to_pages();

COMMENT ON COLUMN dev_nonce_page.newest IS 'A bit that was set when the page was made.';

-- The trigger alone writes pages of what joins used.
REVOKE INSERT, UPDATE ON dev_nonce_page FROM cradle_join;
REVOKE UPDATE (newest, bits) ON dev_nonce_page FROM cradle_join;
GRANT UPDATE (recent_join_eui, recent_nonces, has_pages) ON device_join TO cradle_join;
GRANT INSERT (has_pages), SELECT (recent_join_eui, recent_nonces) ON device_join TO cradle_activation;
