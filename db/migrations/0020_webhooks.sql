-- Webhooks: who wants to be told of what, and what is on its way to them.

CREATE TABLE webhook (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id bytea NOT NULL UNIQUE CHECK (octet_length(public_id) = 16),
    organization_id bigint NOT NULL REFERENCES organization,
    url text NOT NULL CHECK (octet_length(url) BETWEEN 1 AND 1000),
    events integer NOT NULL CHECK (events > 0),
    active boolean NOT NULL DEFAULT true,
    generation integer NOT NULL DEFAULT 1 CHECK (generation >= 1),
    n_failures integer NOT NULL DEFAULT 0 CHECK (n_failures >= 0),
    rests_until timestamptz NOT NULL DEFAULT now(),
    served_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE webhook IS 'An address that an organization wants to be told at. What it is signed with is stored nowhere: the HSM derives it from public_id and generation.';
COMMENT ON COLUMN webhook.id IS 'Number inside this database.';
COMMENT ON COLUMN webhook.public_id IS 'The id that the world sees, 16 random bytes; bound by its secret.';
COMMENT ON COLUMN webhook.organization_id IS 'Whose it is, and of whose affairs it is told.';
COMMENT ON COLUMN webhook.url IS 'Where to post; may hold a secret of the receiver''s in its path or query.';
COMMENT ON COLUMN webhook.events IS 'Types that are wanted, a bit each: 1 device.claimed, 2 claim.refused, 4 batch.done, 8 device.first_join, 16 device.offered, 32 device.quarantined.';
COMMENT ON COLUMN webhook.active IS 'Whether it is told of what happens now, and posted to.';
COMMENT ON COLUMN webhook.generation IS 'Grows by one whenever its secret is made anew; bound by the secret.';
COMMENT ON COLUMN webhook.n_failures IS 'Posts in a row that failed.';
COMMENT ON COLUMN webhook.rests_until IS 'Nothing is posted before: the longer, the more have failed in a row.';
COMMENT ON COLUMN webhook.served_at IS 'When something of it was taken to be posted last: who has waited longest comes first.';
COMMENT ON COLUMN webhook.created_at IS 'When it was made.';
CREATE INDEX webhook_organization ON webhook (organization_id, id);
GRANT SELECT, INSERT, DELETE ON webhook TO cradle_activation;
GRANT UPDATE (url, events, active, generation, n_failures, rests_until, served_at) ON webhook TO cradle_activation;

-- No reference to webhook or organization: it would make each change that is told of lock their rows, and fail where one is being deleted.
-- Who deletes a webhook deletes its deliveries; what is written beside that is found and deleted later.
CREATE TABLE webhook_delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id bytea NOT NULL UNIQUE DEFAULT decode(replace(gen_random_uuid()::text, '-', ''), 'hex')
        CHECK (octet_length(public_id) = 16),
    webhook_id bigint NOT NULL,
    organization_id bigint NOT NULL,
    event_id bytea NOT NULL CHECK (octet_length(event_id) = 16),
    type text NOT NULL CHECK (octet_length(type) BETWEEN 1 AND 40),
    body text NOT NULL CHECK (octet_length(body) BETWEEN 2 AND 4000),
    created_at timestamptz NOT NULL DEFAULT now(),
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sending', 'delivered', 'dead')),
    turn integer NOT NULL DEFAULT 0,
    n_tries integer NOT NULL DEFAULT 0 CHECK (n_tries >= 0),
    due_at timestamptz NOT NULL DEFAULT now(),
    tried_at timestamptz,
    status smallint CHECK (status BETWEEN 100 AND 999),
    fault text CHECK (octet_length(fault) BETWEEN 1 AND 100)
);
COMMENT ON TABLE webhook_delivery IS 'What is to be posted, or was: written in the transaction of what it tells of. Never a code, a key or a secret.';
COMMENT ON COLUMN webhook_delivery.id IS 'Number inside this database, in the order of writing.';
COMMENT ON COLUMN webhook_delivery.public_id IS 'The delivery''s id for the world: the same however often it is posted.';
COMMENT ON COLUMN webhook_delivery.webhook_id IS 'To which webhook.';
COMMENT ON COLUMN webhook_delivery.organization_id IS 'The webhook''s organization, by which rows are counted.';
COMMENT ON COLUMN webhook_delivery.event_id IS 'What it tells of: the same for all webhooks of the organization.';
COMMENT ON COLUMN webhook_delivery.type IS 'Type of the event.';
COMMENT ON COLUMN webhook_delivery.body IS 'The body as it is posted, JSON.';
COMMENT ON COLUMN webhook_delivery.created_at IS 'When the transaction that it tells of began, by this database''s clock.';
COMMENT ON COLUMN webhook_delivery.state IS 'waiting: to be posted from due_at on; sending: a service posts it, and others may from due_at on, when its lease is over; delivered: it was answered with a 2xx; dead: it failed too often.';
COMMENT ON COLUMN webhook_delivery.turn IS 'How often it was taken: who took it before does not settle it any more.';
COMMENT ON COLUMN webhook_delivery.n_tries IS 'How often it was taken since it was made or replayed.';
COMMENT ON COLUMN webhook_delivery.due_at IS 'See state.';
COMMENT ON COLUMN webhook_delivery.tried_at IS 'When it was posted last; null: never yet.';
COMMENT ON COLUMN webhook_delivery.status IS 'HTTP status that it was answered with last; null: with none.';
COMMENT ON COLUMN webhook_delivery.fault IS 'Why the last post failed, in words of ours.';
CREATE INDEX webhook_delivery_due ON webhook_delivery (webhook_id, due_at) WHERE state IN ('waiting', 'sending');
COMMENT ON INDEX webhook_delivery_due IS 'What is to be posted, of one webhook.';
CREATE INDEX webhook_delivery_list ON webhook_delivery (webhook_id, id);
CREATE INDEX webhook_delivery_organization ON webhook_delivery (organization_id, id);
GRANT SELECT, INSERT, DELETE ON webhook_delivery TO cradle_activation;
GRANT UPDATE (state, turn, n_tries, due_at, tried_at, status, fault) ON webhook_delivery TO cradle_activation;

-- A row for each webhook of the organization that wants this type. Most organizations have none: that costs one look into a small index.
CREATE FUNCTION webhook_tell(told_organization bigint, wanted integer, told_type text, told_at timestamptz, about jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    new_id bytea := decode(replace(gen_random_uuid()::text, '-', ''), 'hex');
BEGIN
    INSERT INTO public.webhook_delivery (webhook_id, organization_id, event_id, type, body)
        SELECT w.id, w.organization_id, new_id, told_type, jsonb_build_object(
            'id', encode(new_id, 'hex'), 'type', told_type,
            'at', to_char(told_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'organization', encode(o.public_id, 'hex'), 'object', about)::text
        FROM public.webhook w JOIN public.organization o ON o.id = w.organization_id
        WHERE w.organization_id = told_organization AND w.active AND w.events & wanted <> 0;
END
$$;
COMMENT ON FUNCTION webhook_tell(bigint, integer, text, timestamptz, jsonb) IS 'Writes deliveries of one event to the webhooks of an organization that want it.';
GRANT EXECUTE ON FUNCTION webhook_tell(bigint, integer, text, timestamptz, jsonb) TO cradle_activation;

-- The join server knows nothing of webhooks: who wants to hear of first joins has them looked for.
CREATE TABLE webhook_first_join (
    dev_eui bytea PRIMARY KEY,
    ownership_epoch bigint NOT NULL,
    claimed_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE webhook_first_join IS 'Devices that were claimed and have not joined since, as far as their owner wants to hear of it.';
COMMENT ON COLUMN webhook_first_join.dev_eui IS 'Which device.';
COMMENT ON COLUMN webhook_first_join.ownership_epoch IS 'Of the claim: a later owner''s first join is another one.';
COMMENT ON COLUMN webhook_first_join.claimed_at IS 'Since when it is looked for.';
COMMENT ON COLUMN webhook_first_join.due_at IS 'When it is looked for next: the longer the claim is ago, the more seldom.';
CREATE INDEX webhook_first_join_due ON webhook_first_join (due_at);
GRANT SELECT, INSERT, DELETE ON webhook_first_join TO cradle_activation;
GRANT UPDATE (ownership_epoch, claimed_at, due_at) ON webhook_first_join TO cradle_activation;

-- The maker is told that his device has an owner, and not whom.
CREATE FUNCTION webhook_device_claimed() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    maker bigint;
    epoch bigint;
    about jsonb := jsonb_build_object('dev_eui', encode(NEW.dev_eui, 'hex'));
BEGIN
    -- All that a claim costs of which nobody wants to hear.
    SELECT d.organization_id, d.ownership_epoch INTO maker, epoch FROM public.device d
        WHERE d.dev_eui = NEW.dev_eui AND EXISTS (SELECT FROM public.webhook w
            WHERE w.organization_id IN (NEW.organization_id, d.organization_id) AND w.active AND w.events & 9 <> 0);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM public.webhook_tell(NEW.organization_id, 1, 'device.claimed', NEW.at,
        about || jsonb_build_object('ownership_epoch', epoch));
    IF maker <> NEW.organization_id THEN
        PERFORM public.webhook_tell(maker, 1, 'device.claimed', NEW.at, about);
    END IF;
    IF EXISTS (SELECT FROM public.webhook w
            WHERE w.organization_id = NEW.organization_id AND w.active AND w.events & 8 <> 0) THEN
        INSERT INTO public.webhook_first_join (dev_eui, ownership_epoch, claimed_at) VALUES (NEW.dev_eui, epoch, NEW.at)
            ON CONFLICT (dev_eui) DO UPDATE SET ownership_epoch = excluded.ownership_epoch,
                claimed_at = excluded.claimed_at, due_at = now();
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_device_claimed() IS 'Tells the new owner and the maker of a claim that came through.';
-- WHEN is looked at before anything is called: a refused claim costs the same whatever is here.
CREATE TRIGGER webhook_device_claimed AFTER INSERT ON claim_event
    FOR EACH ROW WHEN (NEW.outcome = 'claimed') EXECUTE FUNCTION webhook_device_claimed();

CREATE FUNCTION webhook_batch_done() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM public.webhook_tell(NEW.organization_id, 4, 'batch.done', NEW.changed_at, jsonb_build_object(
        'job', encode(NEW.public_id, 'hex'),
        'batch', (SELECT encode(b.public_id, 'hex') FROM public.batch b WHERE b.id = NEW.batch_id),
        'state', NEW.state, 'created', NEW.n_created, 'exists', NEW.n_exists,
        'refused', NEW.n_refused, 'warned', NEW.n_warned));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_batch_done() IS 'Tells the maker that an import has ended.';
CREATE TRIGGER webhook_batch_done AFTER UPDATE OF state ON job FOR EACH ROW
    WHEN (NEW.kind = 'import' AND NEW.state <> OLD.state AND NEW.state IN ('done', 'failed', 'cancelled'))
    EXECUTE FUNCTION webhook_batch_done();

-- Who accepts a device is its owner as if he had claimed it, and so it is told.
CREATE FUNCTION webhook_offer_accepted() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    maker bigint;
    epoch bigint;
    about jsonb := jsonb_build_object('dev_eui', encode(NEW.dev_eui, 'hex'));
BEGIN
    SELECT d.organization_id, d.ownership_epoch INTO maker, epoch FROM public.device d WHERE d.dev_eui = NEW.dev_eui;
    PERFORM public.webhook_tell(NEW.to_id, 1, 'device.claimed', now(), about || jsonb_build_object('ownership_epoch', epoch));
    IF maker <> NEW.to_id THEN
        PERFORM public.webhook_tell(maker, 1, 'device.claimed', now(), about);
    END IF;
    IF EXISTS (SELECT FROM public.webhook w WHERE w.organization_id = NEW.to_id AND w.active AND w.events & 8 <> 0) THEN
        INSERT INTO public.webhook_first_join (dev_eui, ownership_epoch, claimed_at) VALUES (NEW.dev_eui, epoch, now())
            ON CONFLICT (dev_eui) DO UPDATE SET ownership_epoch = excluded.ownership_epoch,
                claimed_at = excluded.claimed_at, due_at = now();
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_offer_accepted() IS 'Tells of a new owner, as of a claim.';
CREATE TRIGGER webhook_offer_accepted AFTER UPDATE OF state ON offer FOR EACH ROW
    WHEN (OLD.state = 'open' AND NEW.state = 'accepted') EXECUTE FUNCTION webhook_offer_accepted();

-- Who is to accept a device is told of it; who has one, that it is in quarantine.
CREATE FUNCTION webhook_device_offered() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM public.webhook_tell(NEW.to_id, 16, 'device.offered', NEW.created_at, jsonb_build_object(
        'dev_eui', encode(NEW.dev_eui, 'hex'), 'offer', encode(NEW.public_id, 'hex'),
        'expires_at', to_char(NEW.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_device_offered() IS 'Tells who may accept it of an offer.';
CREATE TRIGGER webhook_device_offered AFTER INSERT ON offer FOR EACH ROW EXECUTE FUNCTION webhook_device_offered();

CREATE FUNCTION webhook_device_quarantined() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM public.webhook_tell(coalesce(NEW.owner_id, NEW.organization_id), 32, 'device.quarantined', now(),
        jsonb_build_object('dev_eui', encode(NEW.dev_eui, 'hex')));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhook_device_quarantined() IS 'Tells who holds a device of its quarantine.';
CREATE TRIGGER webhook_device_quarantined AFTER UPDATE OF trust ON device
    FOR EACH ROW WHEN (NEW.trust = 'quarantined' AND OLD.trust <> NEW.trust) EXECUTE FUNCTION webhook_device_quarantined();

-- Codes tried wrongly are found afterwards, so that an attempt costs the same whatever is here, and told at most once an hour and device.
CREATE TABLE webhook_scan (
    source text PRIMARY KEY CHECK (source IN ('claim_event')),
    looked_from timestamptz NOT NULL DEFAULT now(),
    looked_until timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE webhook_scan IS 'How far events that nobody waits for have been looked through; one service at a time holds a row''s lock.';
COMMENT ON COLUMN webhook_scan.source IS 'Which table.';
COMMENT ON COLUMN webhook_scan.looked_from IS 'Where the last look began.';
COMMENT ON COLUMN webhook_scan.looked_until IS 'All that is older was looked at.';
INSERT INTO webhook_scan (source) VALUES ('claim_event');
GRANT SELECT ON webhook_scan TO cradle_activation;
GRANT UPDATE (looked_from, looked_until) ON webhook_scan TO cradle_activation;

CREATE TABLE webhook_refused (
    dev_eui bytea PRIMARY KEY REFERENCES device,
    n_untold integer NOT NULL CHECK (n_untold >= 0),
    last_at timestamptz NOT NULL,
    told_at timestamptz
);
COMMENT ON TABLE webhook_refused IS 'Devices whose code was tried wrongly of late, while somebody entitled wants to be told of it.';
COMMENT ON COLUMN webhook_refused.dev_eui IS 'Which device.';
COMMENT ON COLUMN webhook_refused.n_untold IS 'Attempts that nobody was told of yet.';
COMMENT ON COLUMN webhook_refused.last_at IS 'The latest of them.';
COMMENT ON COLUMN webhook_refused.told_at IS 'When somebody was told last; null: never yet.';
GRANT SELECT, INSERT, DELETE ON webhook_refused TO cradle_activation;
GRANT UPDATE (n_untold, last_at, told_at) ON webhook_refused TO cradle_activation;
