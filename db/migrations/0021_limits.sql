-- Guessing that is spread over many clients, offers that are over, and one way of telling of a new owner.

ALTER TABLE claim_limit DROP CONSTRAINT claim_limit_scope_check,
    ADD CONSTRAINT claim_limit_scope_check CHECK (scope BETWEEN 1 AND 5);
COMMENT ON COLUMN claim_limit.scope IS '1 a client; 2 a device (also one that is not here); 3 a client and a device; 4 a network (IPv4 /24, IPv6 /64) that clients came from; 5 the alarm: all clients together made too many.';
COMMENT ON COLUMN claim_limit.subject IS 'client_id; DevEUI; both; the address, 8 bytes; 8 bytes 0.';
COMMENT ON COLUMN claim_limit.due IS 'When all of them are forgiven; when the alarm is over.';
CREATE INDEX claim_event_wrong ON claim_event (at) WHERE outcome NOT IN ('claimed', 'repeated', 'own', 'again', 'raced');
COMMENT ON INDEX claim_event_wrong IS 'What the alarm counts.';

COMMENT ON TABLE claim_event IS 'Attempts to claim a device, append only, with the reason that whoever tried is not told; of what is the claimant''s already there is none. No code, and no hash of one.';
COMMENT ON COLUMN claim_event.outcome IS 'claimed, repeated (the same call came again); any other: refused, and why.';

GRANT DELETE ON offer TO cradle_activation;
CREATE INDEX offer_ended ON offer (changed_at) WHERE state <> 'open';
COMMENT ON INDEX offer_ended IS 'What is forgotten after a time.';

CREATE FUNCTION webhook_new_owner(told_device bytea, told_owner bigint, told_at timestamptz) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    maker bigint;
    epoch bigint;
    about jsonb;
BEGIN
    -- All that a claim costs of which nobody wants to hear.
    SELECT d.organization_id, d.ownership_epoch INTO maker, epoch FROM public.device d
        WHERE d.dev_eui = told_device AND EXISTS (SELECT FROM public.webhook w
            WHERE w.organization_id IN (told_owner, d.organization_id) AND w.active AND w.events & 9 <> 0);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    about := jsonb_build_object('dev_eui', encode(told_device, 'hex'));
    PERFORM public.webhook_tell(told_owner, 1, 'device.claimed', told_at,
        about || jsonb_build_object('ownership_epoch', epoch));
    IF maker <> told_owner THEN
        PERFORM public.webhook_tell(maker, 1, 'device.claimed', told_at, about);
    END IF;
    IF EXISTS (SELECT FROM public.webhook w
            WHERE w.organization_id = told_owner AND w.active AND w.events & 8 <> 0) THEN
        INSERT INTO public.webhook_first_join (dev_eui, ownership_epoch, claimed_at) VALUES (told_device, epoch, told_at)
            ON CONFLICT (dev_eui) DO UPDATE SET ownership_epoch = excluded.ownership_epoch,
                claimed_at = excluded.claimed_at, due_at = now();
    END IF;
END
$$;
COMMENT ON FUNCTION webhook_new_owner(bytea, bigint, timestamptz) IS 'Tells the new owner and the maker, and him not whose it is, that a device has an owner.';
GRANT EXECUTE ON FUNCTION webhook_new_owner(bytea, bigint, timestamptz) TO cradle_activation;

CREATE OR REPLACE FUNCTION webhook_device_claimed() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM public.webhook_new_owner(NEW.dev_eui, NEW.organization_id, NEW.at);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION webhook_offer_accepted() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM public.webhook_new_owner(NEW.dev_eui, NEW.to_id, now());
    RETURN NULL;
END
$$;

-- Looked at behind the lock by a snapshot of its own: of two calls at once the second sees what the first has made.
CREATE FUNCTION webhook_room(of_organization bigint, most integer) RETURNS boolean
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('webhooks ' || of_organization, 0));
    RETURN (SELECT count(*) FROM public.webhook w WHERE w.organization_id = of_organization) < most;
END
$$;
COMMENT ON FUNCTION webhook_room(bigint, integer) IS 'Whether an organization may make another webhook, in this transaction.';
GRANT EXECUTE ON FUNCTION webhook_room(bigint, integer) TO cradle_activation;
