-- Classic Sigfox credentials as devices: how their identifiers are told.

-- Devices of both kinds. Which one a device is follows from its identifier.
ALTER TABLE device ADD CONSTRAINT device_kind_of_id CHECK ((kind = 'sigfox') = (substr(dev_eui, 1, 4) = '\x00000000'));
COMMENT ON CONSTRAINT device_kind_of_id ON device IS 'A Sigfox id stands behind 4 zero bytes, and no DevEUI here begins with them.';

-- A plain SQL function, which statements take in whole.
CREATE FUNCTION device_text(dev_eui bytea) RETURNS text
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN substr(dev_eui, 1, 4) = '\x00000000' THEN 'sigfox:' || encode(substr(dev_eui, 5), 'hex') ELSE encode(dev_eui, 'hex') END
$$;
COMMENT ON FUNCTION device_text(bytea) IS 'A device''s identifier as it is told, in audit events too: 16 hex digits, or sigfox: and 8 (device_id_format of base/eui.h).';
GRANT EXECUTE ON FUNCTION device_text(bytea) TO cradle_activation;

-- As they were, but for device_text and, in the first, no first join to look for of what never joins.
CREATE OR REPLACE FUNCTION webhook_new_owner(told_device bytea, told_owner bigint, told_at timestamptz) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    maker bigint;
    epoch bigint;
    joins boolean;
    about jsonb;
BEGIN
    -- All that a claim costs of which nobody wants to hear.
    SELECT d.organization_id, d.ownership_epoch, d.kind = 'lorawan' INTO maker, epoch, joins FROM public.device d
        WHERE d.dev_eui = told_device AND EXISTS (SELECT FROM public.webhook w
            WHERE w.organization_id IN (told_owner, d.organization_id) AND w.active AND w.events & 9 <> 0);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    about := jsonb_build_object('dev_eui', public.device_text(told_device));
    PERFORM public.webhook_tell(told_owner, 1, 'device.claimed', told_at,
        about || jsonb_build_object('ownership_epoch', epoch));
    IF maker <> told_owner THEN
        PERFORM public.webhook_tell(maker, 1, 'device.claimed', told_at, about);
    END IF;
    IF joins AND EXISTS (SELECT FROM public.webhook w
            WHERE w.organization_id = told_owner AND w.active AND w.events & 8 <> 0) THEN
        INSERT INTO public.webhook_first_join (dev_eui, ownership_epoch, claimed_at) VALUES (told_device, epoch, told_at)
            ON CONFLICT (dev_eui) DO UPDATE SET ownership_epoch = excluded.ownership_epoch,
                claimed_at = excluded.claimed_at, due_at = now();
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION webhook_device_offered() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM public.webhook_tell(NEW.to_id, 16, 'device.offered', NEW.created_at, jsonb_build_object(
        'dev_eui', public.device_text(NEW.dev_eui), 'offer', encode(NEW.public_id, 'hex'),
        'expires_at', to_char(NEW.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION webhook_device_quarantined() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM public.webhook_tell(coalesce(NEW.owner_id, NEW.organization_id), 32, 'device.quarantined', now(),
        jsonb_build_object('dev_eui', public.device_text(NEW.dev_eui)));
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION webhook_device_suspect() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    PERFORM public.webhook_tell(NEW.organization_id, 64, 'device.suspect', now(),
        jsonb_build_object('dev_eui', public.device_text(NEW.dev_eui)));
    IF NEW.owner_id <> NEW.organization_id THEN
        PERFORM public.webhook_tell(NEW.owner_id, 64, 'device.suspect', now(),
            jsonb_build_object('dev_eui', public.device_text(NEW.dev_eui)));
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION entitlement_settle(which bytea[], of_request text, ret_suspended OUT bigint, ret_resumed OUT bigint)
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
        SELECT owner_id, of_request, CASE WHEN entitled THEN 'device.resume' ELSE 'device.suspend' END, public.device_text(dev_eui),
            jsonb_build_object('by', 'subscription', 'subscription', encode(subscription, 'hex')) FROM moved ORDER BY dev_eui)
    SELECT count(*) FILTER (WHERE NOT entitled), count(*) FILTER (WHERE entitled) INTO ret_suspended, ret_resumed FROM moved;
END
$$;
