-- What a claim costs here: what was done for each row of a statement is done once for all of them.

-- --- What follows from a change of a device -------------------------------------------------------

-- One look at what has changed, for all that follows from it. Triggers of rows were called up to three times for each device that got an
-- owner, and each began a statement of its own, whose start is dearer than what it does.
-- The join is FULL because no session does such a one row by row, whatever its settings say of joins: so it is linear in the rows.
-- The hot rows are taken by their index and an array: in the order of DevEUIs, as the join server locks them.
CREATE FUNCTION device_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    ended bytea[];
    tested bytea[];
    gated bytea[];
    released bytea[];
    owners bigint[];
    needing bigint;
BEGIN
    SELECT array_agg(c.dev_eui) FILTER (WHERE c.other_sessions OR c.other_test), array_agg(c.dev_eui) FILTER (WHERE c.other_test),
            array_agg(c.dev_eui) FILTER (WHERE c.other_gate AND NOT c.other_sessions AND NOT c.other_test),
            array_agg(c.dev_eui) FILTER (WHERE c.gives_back), array_agg(c.owner_id) FILTER (WHERE c.other_owner)
        INTO ended, tested, gated, released, owners
        FROM (SELECT n.dev_eui, n.owner_id,
            (n.ownership_epoch, n.join_eui) IS DISTINCT FROM (o.ownership_epoch, o.join_eui) AS other_sessions,
            (n.test_net_id, n.test_as_id, n.test_max_joins, n.test_opened_at, n.test_until)
                IS DISTINCT FROM (o.test_net_id, o.test_as_id, o.test_max_joins, o.test_opened_at, o.test_until) AS other_test,
            (n.credential, n.ownership, n.owner_id, n.service, n.trust, n.home_net_id, n.as_id, n.mac_version, n.nonce_epoch)
                IS DISTINCT FROM (o.credential, o.ownership, o.owner_id, o.service, o.trust, o.home_net_id, o.as_id,
                o.mac_version, o.nonce_epoch) AS other_gate,
            o.owner_id IS NOT NULL AND (o.ownership_epoch <> n.ownership_epoch
                OR (o.credential <> n.credential AND n.credential = 'scrapped')) AS gives_back,
            n.owner_id IS NOT NULL AND n.owner_id IS DISTINCT FROM o.owner_id AS other_owner
            FROM old_rows o FULL JOIN new_rows n ON n.dev_eui = o.dev_eui) c;
    -- Both kinds in one order, which is that of joins.
    IF ended IS NOT NULL AND gated IS NOT NULL THEN
        PERFORM public.device_joins_hold(ended || gated);
    END IF;
    IF ended IS NOT NULL THEN
        UPDATE public.device_join SET gate_rev = gate_rev + 1,
            current_join_type = NULL, current_join_nonce = NULL, current_nonce = NULL, current_net_id = NULL,
            current_rj_count0 = NULL,
            pending_join_type = NULL, pending_join_nonce = NULL, pending_nonce = NULL, pending_net_id = NULL,
            pending_rj_count0 = NULL,
            previous_join_type = NULL, previous_join_nonce = NULL, previous_nonce = NULL, previous_net_id = NULL,
            test_joins = CASE WHEN dev_eui = ANY (tested) THEN NULL ELSE test_joins END
        WHERE dev_eui = ANY (ended);
    END IF;
    IF gated IS NOT NULL THEN
        UPDATE public.device_join SET gate_rev = gate_rev + 1 WHERE dev_eui = ANY (gated);
    END IF;
    IF released IS NOT NULL THEN
        DELETE FROM public.device_entitlement WHERE dev_eui = ANY (released);
    END IF;
    IF owners IS NULL THEN
        RETURN NULL;
    END IF;
    FOR needing IN SELECT o.id FROM public.organization o WHERE o.id = ANY (owners) AND o.subscription_required LOOP
        PERFORM public.entitlement_settle(ARRAY(SELECT n.dev_eui FROM new_rows n WHERE n.owner_id = needing),
            'subscription-required-' || needing);
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION device_changed() IS 'A join that was decided on what was there before loses its race, for device_join.gate_rev moves on; sessions end with the owner, the JoinEUI or the test window that they stand on, and the joins of a window are counted anew; a place is its owner''s: it is free again when the device is another''s, nobody''s or no more; and a device whose new owner''s devices need a subscription is suspended, unless it has come with one.';
-- Triggers of statements come behind those of rows: so behind the reference to the owner, which holds the key of his row by then. Who
-- changes subscription_required locks that key, too: either this sees the change, or the walk that follows the change sees the device.
CREATE TRIGGER device_changed AFTER UPDATE ON device REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION device_changed();
DROP TRIGGER device_gate ON device;
DROP TRIGGER device_test_window_changed ON device;
DROP TRIGGER entitlement_ends ON device;
DROP TRIGGER subscription_needed ON device;
DROP FUNCTION device_gate_changed(), device_test_window_changed(), entitlement_ends();

-- One condition to be read for a statement that changes devices, and hardly ever a call.
CREATE FUNCTION device_lets_go() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.service <> 'suspended' THEN
        NEW.suspended_by := NULL;
    END IF;
    IF NEW.ownership <> 'unowned' OR NEW.ownership_epoch <> OLD.ownership_epoch OR NEW.credential = 'scrapped' THEN
        NEW.test_net_id := NULL;
        NEW.test_as_id := NULL;
        NEW.test_max_joins := NULL;
        NEW.test_opened_at := NULL;
        NEW.test_until := NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION device_lets_go() IS 'What is not suspended is suspended by nobody; and a test window is of a device that nobody owns, and that is not scrapped.';
CREATE TRIGGER device_lets_go BEFORE UPDATE OF ownership, ownership_epoch, credential, service ON device
    FOR EACH ROW WHEN (NEW.test_net_id IS NOT NULL OR NEW.suspended_by IS NOT NULL) EXECUTE FUNCTION device_lets_go();
DROP TRIGGER device_suspension_ends ON device;
DROP TRIGGER device_test_window_ends ON device;
DROP FUNCTION device_suspension_ends(), device_test_window_ends();

-- --- Who is told of a claim -----------------------------------------------------------------------

-- A refused claim costs the same whatever is here: none of them is looked up.
CREATE OR REPLACE FUNCTION webhook_device_claimed() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    claim record;
BEGIN
    FOR claim IN SELECT a.dev_eui, a.organization_id, a.at FROM added a
            JOIN public.device d ON d.dev_eui = a.dev_eui WHERE a.outcome = 'claimed'
            AND EXISTS (SELECT FROM public.webhook w WHERE w.organization_id IN (a.organization_id, d.organization_id)
                AND w.active AND w.events & 9 <> 0) ORDER BY a.id LOOP
        PERFORM public.webhook_new_owner(claim.dev_eui, claim.organization_id, claim.at);
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_device_claimed() IS 'Tells new owners and makers of claims that came through, where they want to hear of them.';
DROP TRIGGER webhook_device_claimed ON claim_event;
CREATE TRIGGER webhook_device_claimed AFTER INSERT ON claim_event REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION webhook_device_claimed();

-- --- Places ---------------------------------------------------------------------------------------

-- As 0027 made it; most claims want none.
CREATE OR REPLACE FUNCTION subscription_places(which bigint[]) RETURNS TABLE (id bigint, n_free integer)
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF cardinality(which) > 0 THEN
        RETURN QUERY SELECT s.id, CASE WHEN public.subscription_runs(s) THEN s.n_places - s.n_used ELSE 0 END
            FROM public.subscription s WHERE s.id = ANY (which) ORDER BY s.id FOR NO KEY UPDATE;
    END IF;
END
$$;

-- --- Walks ----------------------------------------------------------------------------------------

-- As 0027 made them, but for the bounds of a piece: bounds of whole rows and no equation, so that its order is one that a single index
-- has, which begins behind the last device and holds nobody else's. With an equation all devices may be walked, and others' left out.
CREATE OR REPLACE FUNCTION subscription_walk(n_max integer, ret_walked OUT bigint, ret_suspended OUT bigint, ret_resumed OUT bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    s public.subscription;
    piece bytea[];
BEGIN
    SELECT * INTO s FROM public.subscription WHERE walk IS NOT NULL ORDER BY id LIMIT 1;
    IF NOT FOUND THEN
        SELECT 0, 0, 0 INTO ret_walked, ret_suspended, ret_resumed;
        RETURN;
    END IF;
    SELECT coalesce(array_agg(dev_eui ORDER BY dev_eui), '{}') INTO piece FROM (SELECT dev_eui FROM public.device_entitlement
        WHERE (subscription_id, dev_eui) > (s.id, s.walk) AND subscription_id <= s.id ORDER BY subscription_id, dev_eui LIMIT n_max) e;
    SELECT r.ret_suspended, r.ret_resumed INTO ret_suspended, ret_resumed
        FROM public.entitlement_settle(piece, 'subscription-' || s.id) r;
    UPDATE public.subscription SET walk = CASE WHEN cardinality(piece) = n_max THEN piece[n_max] END
        WHERE id = s.id AND walk = s.walk AND ends_at = s.ends_at AND renewal = s.renewal AND due_at IS NOT DISTINCT FROM s.due_at;
    ret_walked := 1 + cardinality(piece);
END
$$;

CREATE OR REPLACE FUNCTION organization_walk(n_max integer, ret_walked OUT bigint, ret_suspended OUT bigint, ret_resumed OUT bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    o public.organization;
    piece bytea[];
BEGIN
    SELECT * INTO o FROM public.organization WHERE subscription_walk IS NOT NULL ORDER BY id LIMIT 1;
    IF NOT FOUND THEN
        SELECT 0, 0, 0 INTO ret_walked, ret_suspended, ret_resumed;
        RETURN;
    END IF;
    SELECT coalesce(array_agg(dev_eui ORDER BY dev_eui), '{}') INTO piece FROM (SELECT dev_eui FROM public.device
        WHERE (coalesce(owner_id, organization_id), dev_eui) > (o.id, o.subscription_walk) AND coalesce(owner_id, organization_id) <= o.id
        ORDER BY coalesce(owner_id, organization_id), dev_eui LIMIT n_max) d;
    SELECT r.ret_suspended, r.ret_resumed INTO ret_suspended, ret_resumed
        FROM public.entitlement_settle(piece, 'subscription-required-' || o.id) r;
    UPDATE public.organization SET subscription_walk = CASE WHEN cardinality(piece) = n_max THEN piece[n_max] END
        WHERE id = o.id AND subscription_walk = o.subscription_walk AND subscription_required = o.subscription_required;
    ret_walked := 1 + cardinality(piece);
END
$$;
