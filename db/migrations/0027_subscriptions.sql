-- Subscriptions: how many devices of an owner may join, from when until when; and which device holds a place of which.

ALTER TABLE organization
    ADD COLUMN subscription_required boolean NOT NULL DEFAULT false,
    ADD COLUMN subscription_walk bytea CHECK (octet_length(subscription_walk) <= 8);
COMMENT ON COLUMN organization.subscription_required IS 'Whether its devices join only with a subscription that runs.';
COMMENT ON COLUMN organization.subscription_walk IS 'subscription_required has changed: its devices up to this DevEUI have been brought in line with it; empty: none yet; null: all.';
CREATE INDEX organization_walk ON organization (id) WHERE subscription_walk IS NOT NULL;
COMMENT ON INDEX organization_walk IS 'What the keeper has to do.';
GRANT UPDATE (subscription_required, subscription_walk) ON organization TO cradle_activation;

CREATE TABLE subscription (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id bytea NOT NULL UNIQUE DEFAULT decode(replace(gen_random_uuid()::text, '-', ''), 'hex')
        CHECK (octet_length(public_id) = 16),
    organization_id bigint NOT NULL REFERENCES organization,
    seller_id bigint NOT NULL REFERENCES organization,
    name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 100),
    starts_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    term_s bigint NOT NULL CHECK (term_s >= 86400),
    n_places integer NOT NULL CHECK (n_places >= 1),
    n_used integer NOT NULL DEFAULT 0,
    renewal text NOT NULL CHECK (renewal IN ('none', 'auto')),
    notice_days integer NOT NULL CHECK (notice_days BETWEEN 0 AND 365),
    notice_at timestamptz,
    due_at timestamptz,
    walk bytea CHECK (octet_length(walk) <= 8),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (ends_at >= starts_at),
    -- Whatever a statement believes: the last place is not taken twice.
    CONSTRAINT subscription_places CHECK (n_used BETWEEN 0 AND n_places)
);
COMMENT ON TABLE subscription IS 'So many devices of an owner may join, from a time until a time.';
COMMENT ON COLUMN subscription.id IS 'Order of making; never shown outside.';
COMMENT ON COLUMN subscription.public_id IS 'Its name outside.';
COMMENT ON COLUMN subscription.organization_id IS 'Whose devices it is for.';
COMMENT ON COLUMN subscription.seller_id IS 'Who made it, and may change it: the organization of an operator or administrator.';
COMMENT ON COLUMN subscription.name IS 'Name for people.';
COMMENT ON COLUMN subscription.starts_at IS 'No place is taken before.';
COMMENT ON COLUMN subscription.ends_at IS 'When it ends or, with renewal auto, is extended.';
COMMENT ON COLUMN subscription.term_s IS 'By how many seconds a renewal extends it: from its first start to its first end.';
COMMENT ON COLUMN subscription.n_places IS 'How many devices may hold it.';
COMMENT ON COLUMN subscription.n_used IS 'How many do: kept by a trigger.';
COMMENT ON COLUMN subscription.renewal IS 'auto: it does not end, but is extended by its term; none: it ends.';
COMMENT ON COLUMN subscription.notice_days IS 'How long before its end its owner is told.';
COMMENT ON COLUMN subscription.notice_at IS 'When he is; null: he was, of this end.';
COMMENT ON COLUMN subscription.due_at IS 'When its end is to be acted upon, once its owner was told; null: it has ended.';
COMMENT ON COLUMN subscription.walk IS 'It has ended or runs again: its devices up to this DevEUI have been brought in line with that; empty: none yet; null: all.';
COMMENT ON COLUMN subscription.created_at IS 'When it was made.';
CREATE INDEX subscription_of ON subscription (organization_id, id);
CREATE INDEX subscription_by ON subscription (seller_id, id);
CREATE INDEX subscription_notice ON subscription (notice_at) WHERE notice_at IS NOT NULL;
CREATE INDEX subscription_due ON subscription (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX subscription_walk ON subscription (id) WHERE walk IS NOT NULL;
COMMENT ON INDEX subscription_walk IS 'What the keeper has to do; so are subscription_notice and subscription_due.';
GRANT SELECT ON subscription TO cradle_activation;
GRANT INSERT (organization_id, seller_id, name, starts_at, ends_at, term_s, n_places, renewal, notice_days, notice_at, due_at)
    ON subscription TO cradle_activation;
GRANT UPDATE (name, ends_at, n_places, renewal, notice_days, notice_at, due_at, walk) ON subscription TO cradle_activation;

CREATE TABLE device_entitlement (
    dev_eui bytea PRIMARY KEY REFERENCES device,
    subscription_id bigint NOT NULL REFERENCES subscription,
    taken_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE device_entitlement IS 'The place that a device holds in a subscription of its owner: one at most, until it is given back or the device has another owner.';
COMMENT ON COLUMN device_entitlement.dev_eui IS 'Which device; its row is locked by whoever changes this one.';
COMMENT ON COLUMN device_entitlement.subscription_id IS 'Of which subscription.';
COMMENT ON COLUMN device_entitlement.taken_at IS 'Since when.';
CREATE INDEX device_entitlement_of ON device_entitlement (subscription_id, dev_eui);
GRANT SELECT, INSERT, DELETE ON device_entitlement TO cradle_activation;
GRANT UPDATE (dev_eui, subscription_id, taken_at) ON device_entitlement TO cradle_activation;

ALTER TABLE device ADD COLUMN suspended_by text CHECK (suspended_by = 'subscription'),
    ADD CONSTRAINT device_suspended_by_something CHECK (suspended_by IS NULL OR service = 'suspended');
COMMENT ON COLUMN device.suspended_by IS 'subscription: for want of one that runs, and it is active again with one; null: by its owner, or not suspended.';

CREATE FUNCTION device_suspension_ends() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.suspended_by := NULL;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION device_suspension_ends() IS 'What is not suspended is suspended by nobody.';
CREATE TRIGGER device_suspension_ends BEFORE UPDATE OF service ON device
    FOR EACH ROW WHEN (NEW.suspended_by IS NOT NULL AND NEW.service <> 'suspended') EXECUTE FUNCTION device_suspension_ends();

CREATE FUNCTION entitlement_counted() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE public.subscription SET n_used = n_used - 1 WHERE id = OLD.subscription_id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        UPDATE public.subscription SET n_used = n_used + 1 WHERE id = NEW.subscription_id;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION entitlement_counted() IS 'Keeps subscription.n_used. Runs with the owner''s rights: nobody else may say how many places are used.';
CREATE TRIGGER entitlement_counted AFTER INSERT OR DELETE ON device_entitlement
    FOR EACH ROW EXECUTE FUNCTION entitlement_counted();
CREATE TRIGGER entitlement_moved AFTER UPDATE OF subscription_id ON device_entitlement
    FOR EACH ROW WHEN (OLD.subscription_id <> NEW.subscription_id) EXECUTE FUNCTION entitlement_counted();

-- A device that nobody owned held none: a claim does not even ask.
CREATE FUNCTION entitlement_ends() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    DELETE FROM public.device_entitlement WHERE dev_eui = NEW.dev_eui;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION entitlement_ends() IS 'A place is its owner''s: it is free again when the device is another''s, nobody''s or no more.';
CREATE TRIGGER entitlement_ends AFTER UPDATE OF ownership_epoch, credential ON device
    FOR EACH ROW WHEN (OLD.owner_id IS NOT NULL AND (OLD.ownership_epoch <> NEW.ownership_epoch
        OR (OLD.credential <> NEW.credential AND NEW.credential = 'scrapped'))) EXECUTE FUNCTION entitlement_ends();

CREATE FUNCTION subscription_runs(s subscription) RETURNS boolean
LANGUAGE sql STABLE
AS $$
    SELECT s.starts_at <= now() AND s.due_at IS NOT NULL AND (s.renewal = 'auto' OR now() < s.ends_at)
$$;
COMMENT ON FUNCTION subscription_runs(subscription) IS 'Whether devices that hold it may join. With renewal auto also between its end and its renewal; never once its end was acted upon, whatever this transaction''s time.';
GRANT EXECUTE ON FUNCTION subscription_runs(subscription) TO cradle_activation;

-- In a language that keeps its plan: each claim that comes through calls it.
CREATE FUNCTION subscription_places(which bigint[]) RETURNS TABLE (id bigint, n_free integer)
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT s.id, CASE WHEN public.subscription_runs(s) THEN s.n_places - s.n_used ELSE 0 END
        FROM public.subscription s WHERE s.id = ANY (which) ORDER BY s.id FOR NO KEY UPDATE;
END
$$;
COMMENT ON FUNCTION subscription_places(bigint[]) IS 'How many devices more may hold these; locks them, and sees what was changed by whom it waited for.';
GRANT EXECUTE ON FUNCTION subscription_places(bigint[]) TO cradle_activation;

-- Whether devices are active that have an owner follows from what they hold now, whoever calls this and how often. Locks first and
-- judges then, in a statement of its own: what was changed by whom it waited for is seen.
CREATE FUNCTION entitlement_settle(which bytea[], of_request text, ret_suspended OUT bigint, ret_resumed OUT bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM FROM public.device d WHERE d.dev_eui = ANY (which) ORDER BY d.dev_eui FOR NO KEY UPDATE;
    WITH judged AS MATERIALIZED (SELECT d.dev_eui, d.owner_id, s.public_id AS subscription,
            CASE WHEN e.dev_eui IS NULL THEN NOT o.subscription_required ELSE public.subscription_runs(s) END AS entitled
        FROM public.device d JOIN public.organization o ON o.id = d.owner_id
        LEFT JOIN public.device_entitlement e ON e.dev_eui = d.dev_eui
        LEFT JOIN public.subscription s ON s.id = e.subscription_id
        WHERE d.dev_eui = ANY (which) AND (d.service = 'active' OR d.suspended_by = 'subscription')),
    moved AS (UPDATE public.device d SET service = CASE WHEN j.entitled THEN 'active' ELSE 'suspended' END,
            suspended_by = CASE WHEN j.entitled THEN NULL ELSE 'subscription' END
        FROM judged j WHERE d.dev_eui = j.dev_eui AND (d.service = 'active') <> j.entitled
        RETURNING d.dev_eui, j.owner_id, j.subscription, j.entitled),
    told AS (INSERT INTO public.audit_event (organization_id, request_id, action, object, detail)
        SELECT owner_id, of_request, CASE WHEN entitled THEN 'device.resume' ELSE 'device.suspend' END, encode(dev_eui, 'hex'),
            jsonb_build_object('by', 'subscription', 'subscription', encode(subscription, 'hex')) FROM moved ORDER BY dev_eui)
    SELECT count(*) FILTER (WHERE NOT entitled), count(*) FILTER (WHERE entitled) INTO ret_suspended, ret_resumed FROM moved;
END
$$;
COMMENT ON FUNCTION entitlement_settle(bytea[], text) IS 'Suspends devices that want a subscription that runs, and resumes those that were suspended so and want none any more.';
GRANT EXECUTE ON FUNCTION entitlement_settle(bytea[], text) TO cradle_activation;

-- Whoever makes an organization the owner of a device, by whatever way. The transaction holds the key of the organization's row by then,
-- for the reference's own trigger comes first by its name; who changes subscription_required locks that key, too: so either this sees the
-- change, or the walk that follows the change sees the device.
CREATE FUNCTION subscription_needed() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF (SELECT o.subscription_required FROM public.organization o WHERE o.id = NEW.owner_id) THEN
        PERFORM public.entitlement_settle(ARRAY[NEW.dev_eui], 'subscription-required-' || NEW.owner_id);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION subscription_needed() IS 'Suspends a device that its new owner''s devices need a subscription for, unless it has come with one.';
CREATE TRIGGER subscription_needed AFTER UPDATE OF owner_id ON device FOR EACH ROW
    WHEN (NEW.owner_id IS NOT NULL AND NEW.owner_id IS DISTINCT FROM OLD.owner_id) EXECUTE FUNCTION subscription_needed();
CREATE TRIGGER subscription_needed_at_once AFTER INSERT ON device FOR EACH ROW
    WHEN (NEW.owner_id IS NOT NULL) EXECUTE FUNCTION subscription_needed();

-- The cursor is moved on only where nothing has changed that the devices were judged by: or all are walked once more.
CREATE FUNCTION subscription_walk(n_max integer, ret_walked OUT bigint, ret_suspended OUT bigint, ret_resumed OUT bigint)
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
        WHERE subscription_id = s.id AND dev_eui > s.walk ORDER BY dev_eui LIMIT n_max) e;
    SELECT r.ret_suspended, r.ret_resumed INTO ret_suspended, ret_resumed
        FROM public.entitlement_settle(piece, 'subscription-' || s.id) r;
    UPDATE public.subscription SET walk = CASE WHEN cardinality(piece) = n_max THEN piece[n_max] END
        WHERE id = s.id AND walk = s.walk AND ends_at = s.ends_at AND renewal = s.renewal AND due_at IS NOT DISTINCT FROM s.due_at;
    ret_walked := 1 + cardinality(piece);
END
$$;
COMMENT ON FUNCTION subscription_walk(integer) IS 'Brings a piece of the devices of one subscription that has ended, or runs again, in line with that. Returns 0 walked when there is none.';
GRANT EXECUTE ON FUNCTION subscription_walk(integer) TO cradle_activation;

CREATE FUNCTION organization_walk(n_max integer, ret_walked OUT bigint, ret_suspended OUT bigint, ret_resumed OUT bigint)
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
        WHERE coalesce(owner_id, organization_id) = o.id AND dev_eui > o.subscription_walk ORDER BY dev_eui LIMIT n_max) d;
    SELECT r.ret_suspended, r.ret_resumed INTO ret_suspended, ret_resumed
        FROM public.entitlement_settle(piece, 'subscription-required-' || o.id) r;
    UPDATE public.organization SET subscription_walk = CASE WHEN cardinality(piece) = n_max THEN piece[n_max] END
        WHERE id = o.id AND subscription_walk = o.subscription_walk AND subscription_required = o.subscription_required;
    ret_walked := 1 + cardinality(piece);
END
$$;
COMMENT ON FUNCTION organization_walk(integer) IS 'The same of the devices of an organization whose subscription_required has changed.';
GRANT EXECUTE ON FUNCTION organization_walk(integer) TO cradle_activation;

ALTER TABLE claim_event DROP CONSTRAINT claim_event_outcome_check,
    ADD CONSTRAINT claim_event_outcome_check CHECK (outcome IN ('claimed', 'repeated', 'own', 'again', 'unknown', 'quarantined', 'taken',
        'credential', 'no-code', 'locked', 'code', 'raced', 'no-place'));
COMMENT ON COLUMN claim_event.outcome IS 'claimed, repeated (the same call came again), no-place (the code was right, and the last place of the claimant''s subscription taken meanwhile); any other: refused, and why.';
COMMENT ON COLUMN webhook.events IS 'Types that are wanted, a bit each: 1 device.claimed, 2 claim.refused, 4 batch.done, 8 device.first_join, 16 device.offered, 32 device.quarantined, 64 device.suspect, 128 subscription.ending.';
COMMENT ON COLUMN audit_event.client_id IS 'Who did it; null: the cradle command, on this database itself, or a service of its own accord.';
COMMENT ON COLUMN audit_event.request_id IS 'X-Request-Id of the call; of a job that a service interrupts, "lease-" with the job''s number and turn; of a device whose trust it judges, "trust-" with its DevEUI; of what a subscription brings, "subscription-" with a number; of a rule, "rule-", and of an offer that is over, "expired-".';
