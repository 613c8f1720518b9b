-- Roaming agreements: which network may have whose devices join away from home, and is told who is home to them; and whom the owner of a
-- device lets do so.

CREATE TABLE roaming_group (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (octet_length(name) BETWEEN 1 AND 64),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE roaming_group IS 'Networks that agree upon something together, every two of them both ways.';
COMMENT ON COLUMN roaming_group.id IS 'Number of the group.';
COMMENT ON COLUMN roaming_group.name IS 'What operators call it.';
COMMENT ON COLUMN roaming_group.created_at IS 'When it was made.';

CREATE TABLE roaming_group_member (
    group_id bigint NOT NULL REFERENCES roaming_group ON DELETE CASCADE,
    net_id bytea NOT NULL CHECK (octet_length(net_id) = 3),
    PRIMARY KEY (group_id, net_id)
);
COMMENT ON TABLE roaming_group_member IS 'The networks of a group.';
COMMENT ON COLUMN roaming_group_member.group_id IS 'The group.';
COMMENT ON COLUMN roaming_group_member.net_id IS 'NetID of a member, 3 bytes. It may be of a network that is not known here.';

CREATE TABLE roaming_agreement (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    home_net_id bytea CHECK (octet_length(home_net_id) = 3),
    visited_net_id bytea CHECK (octet_length(visited_net_id) = 3),
    both_ways boolean NOT NULL DEFAULT false,
    group_id bigint REFERENCES roaming_group,
    activation boolean NOT NULL,
    home_ns boolean NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at timestamptz CHECK (ends_at > starts_at),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT roaming_agreement_of_pair_or_group CHECK ((home_net_id IS NULL) = (visited_net_id IS NULL)
        AND (home_net_id IS NULL) <> (group_id IS NULL) AND home_net_id <> visited_net_id AND NOT (both_ways AND group_id IS NOT NULL)),
    CONSTRAINT roaming_agreement_allows_something CHECK (activation OR home_ns)
);
COMMENT ON TABLE roaming_agreement IS 'What two networks, or those of a group, have agreed upon about each other''s devices.';
COMMENT ON COLUMN roaming_agreement.id IS 'Number of the agreement.';
COMMENT ON COLUMN roaming_agreement.home_net_id IS 'NetID of the home network of the devices it is about; null: it is of a group.';
COMMENT ON COLUMN roaming_agreement.visited_net_id IS 'NetID of the network that they may visit; null: it is of a group.';
COMMENT ON COLUMN roaming_agreement.both_ways IS 'Of a pair: devices of either may visit the other.';
COMMENT ON COLUMN roaming_agreement.group_id IS 'The group whose every two members have agreed, both ways; null: it is of a pair.';
COMMENT ON COLUMN roaming_agreement.activation IS 'Joins and rejoins through the visited network are answered.';
COMMENT ON COLUMN roaming_agreement.home_ns IS 'HomeNSReq of the visited network are answered with the home network (TS002-1.0 HNetID).';
COMMENT ON COLUMN roaming_agreement.starts_at IS 'It runs from then on.';
COMMENT ON COLUMN roaming_agreement.ends_at IS 'From then on it runs no more; null: it has no end.';
COMMENT ON COLUMN roaming_agreement.created_at IS 'When it was made.';
CREATE INDEX roaming_agreement_group ON roaming_agreement (group_id) WHERE group_id IS NOT NULL;

-- They are a part of what the join server holds in memory.
CREATE TRIGGER roaming_group_member_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON roaming_group_member
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();
CREATE TRIGGER roaming_agreement_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON roaming_agreement
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();

CREATE TABLE roaming_refusal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL REFERENCES organization,
    home_net_id bytea NOT NULL CHECK (octet_length(home_net_id) = 3),
    sender_net_id bytea NOT NULL CHECK (octet_length(sender_net_id) = 3),
    join_prefix bytea NOT NULL CHECK (octet_length(join_prefix) = 3),
    service text NOT NULL CHECK (service IN ('activation', 'home_ns')),
    reason text NOT NULL CHECK (reason IN ('no_agreement', 'ended', 'not_begun', 'not_allowed', 'narrowed')),
    n bigint NOT NULL CHECK (n > 0),
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    last_dev_eui bytea NOT NULL CHECK (octet_length(last_dev_eui) = 8),
    UNIQUE (organization_id, home_net_id, sender_net_id, join_prefix, service, reason)
);
COMMENT ON TABLE roaming_refusal IS 'What networks away from home were refused about devices that are here, counted. Of a device that is not here nothing is kept.';
COMMENT ON COLUMN roaming_refusal.id IS 'Number of the row.';
COMMENT ON COLUMN roaming_refusal.organization_id IS 'Who owned the devices then.';
COMMENT ON COLUMN roaming_refusal.home_net_id IS 'NetID of their home network then.';
COMMENT ON COLUMN roaming_refusal.sender_net_id IS 'NetID of the network that asked.';
COMMENT ON COLUMN roaming_refusal.join_prefix IS 'The first 24 bits of their JoinEUIs.';
COMMENT ON COLUMN roaming_refusal.service IS 'activation: a JoinReq or RejoinReq; home_ns: a HomeNSReq.';
COMMENT ON COLUMN roaming_refusal.reason IS 'no_agreement: the two networks have none; ended, not_begun: not at that time; not_allowed: not about this; narrowed: the owner does not want it.';
COMMENT ON COLUMN roaming_refusal.n IS 'How many were refused.';
COMMENT ON COLUMN roaming_refusal.first_at IS 'When the first one was.';
COMMENT ON COLUMN roaming_refusal.last_at IS 'When the last one was.';
COMMENT ON COLUMN roaming_refusal.last_dev_eui IS 'The device that the last one was about; for its owner of then alone.';
CREATE INDEX roaming_refusal_last ON roaming_refusal (last_at);
COMMENT ON INDEX roaming_refusal_last IS 'What has not come again for long is forgotten.';

CREATE TABLE roaming_carried_refusal (
    id bigint PRIMARY KEY DEFAULT nextval('roaming_refusal_id_seq'),
    partner_id bigint NOT NULL CHECK (partner_id >= 0),
    sender text NOT NULL CHECK (octet_length(sender) BETWEEN 1 AND 64),
    join_prefix bytea NOT NULL CHECK (octet_length(join_prefix) = 8),
    join_prefix_len smallint NOT NULL CHECK (join_prefix_len BETWEEN 0 AND 64),
    message_type text NOT NULL CHECK (octet_length(message_type) BETWEEN 1 AND 32),
    outcome text NOT NULL CHECK (octet_length(outcome) BETWEEN 1 AND 32),
    result_code text NOT NULL CHECK (octet_length(result_code) <= 32),
    n bigint NOT NULL CHECK (n > 0),
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    UNIQUE (partner_id, sender, join_prefix, join_prefix_len, message_type, outcome, result_code)
);
COMMENT ON TABLE roaming_carried_refusal IS 'Requests for the join server of somebody else that it refused, or that did not get there, counted. No device is named here, and no JoinEUI: the range is that of a route, so that no request makes a range.';
COMMENT ON COLUMN roaming_carried_refusal.id IS 'Number of the row, of one sequence with those of roaming_refusal.';
COMMENT ON COLUMN roaming_carried_refusal.partner_id IS 'The partner that it was for; 0: a join server that DNS was to name.';
COMMENT ON COLUMN roaming_carried_refusal.sender IS 'Who asked: a NetID, or the AS-ID of an AppSKeyReq.';
COMMENT ON COLUMN roaming_carried_refusal.join_prefix IS 'The range of JoinEUIs of the route that the request took: its first bits, then zeros.';
COMMENT ON COLUMN roaming_carried_refusal.join_prefix_len IS 'How many bits.';
COMMENT ON COLUMN roaming_carried_refusal.message_type IS 'What was asked: MessageType of TS002.';
COMMENT ON COLUMN roaming_carried_refusal.outcome IS 'What came of it, as metrics call it; answered: its join server said no.';
COMMENT ON COLUMN roaming_carried_refusal.result_code IS 'ResultCode of that answer, (unknown) for one that TS002 does not have; empty where there was none.';
COMMENT ON COLUMN roaming_carried_refusal.n IS 'How many there were.';
COMMENT ON COLUMN roaming_carried_refusal.first_at IS 'When the first one was.';
COMMENT ON COLUMN roaming_carried_refusal.last_at IS 'When the last one was.';
CREATE INDEX roaming_carried_refusal_last ON roaming_carried_refusal (last_at);
COMMENT ON INDEX roaming_carried_refusal_last IS 'What has not come again for long is forgotten.';

-- The whole table of devices is not read for a column that is new: nothing in it can be wrong yet.
ALTER TABLE device ADD COLUMN roaming bytea;
ALTER TABLE device ADD CONSTRAINT device_roaming CHECK (octet_length(roaming) % 3 = 0 AND octet_length(roaming) <= 48) NOT VALID;
COMMENT ON COLUMN device.roaming IS 'NetIDs, 3 bytes each and in order, at most 16: of the networks that an agreement lets, the owner lets the device join in these alone, none where there is none; null: in all of them.';

-- As 0029 made it, and roaming is a part of the gate.
CREATE OR REPLACE FUNCTION device_changed() RETURNS trigger
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
            (n.credential, n.ownership, n.owner_id, n.service, n.trust, n.home_net_id, n.as_id, n.roaming, n.mac_version, n.nonce_epoch)
                IS DISTINCT FROM (o.credential, o.ownership, o.owner_id, o.service, o.trust, o.home_net_id, o.as_id,
                o.roaming, o.mac_version, o.nonce_epoch) AS other_gate,
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

-- As 0030 made it; and what an owner wanted is not his successor's.
CREATE OR REPLACE FUNCTION device_lets_go() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.service <> 'suspended' THEN
        NEW.suspended_by := NULL;
    END IF;
    IF NEW.ownership <> 'unowned' OR NEW.ownership_epoch <> OLD.ownership_epoch OR NEW.credential = 'scrapped'
            OR NEW.organization_id <> OLD.organization_id THEN
        NEW.test_net_id := NULL;
        NEW.test_as_id := NULL;
        NEW.test_max_joins := NULL;
        NEW.test_opened_at := NULL;
        NEW.test_until := NULL;
    END IF;
    IF NEW.ownership_epoch <> OLD.ownership_epoch THEN
        NEW.roaming := NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION device_lets_go() IS 'What is not suspended is suspended by nobody; a test window is of a device that nobody owns, that is not scrapped, and that its maker has not handed over; and where a device may roam each owner says anew.';
DROP TRIGGER device_lets_go ON device;
CREATE TRIGGER device_lets_go BEFORE UPDATE OF ownership, ownership_epoch, credential, service, organization_id ON device
    FOR EACH ROW WHEN (NEW.test_net_id IS NOT NULL OR NEW.suspended_by IS NOT NULL OR NEW.roaming IS NOT NULL)
    EXECUTE FUNCTION device_lets_go();

GRANT SELECT ON roaming_group_member, roaming_agreement TO cradle_join;
GRANT SELECT, INSERT ON roaming_refusal TO cradle_join;
GRANT UPDATE (n, first_at, last_at, last_dev_eui) ON roaming_refusal TO cradle_join;
GRANT SELECT, INSERT ON roaming_carried_refusal TO cradle_join;
GRANT UPDATE (n, first_at, last_at) ON roaming_carried_refusal TO cradle_join;
GRANT USAGE ON SEQUENCE roaming_refusal_id_seq TO cradle_join;
GRANT SELECT, INSERT, DELETE ON roaming_group, roaming_group_member, roaming_agreement TO cradle_activation;
GRANT UPDATE (name) ON roaming_group TO cradle_activation;
GRANT UPDATE (both_ways, activation, home_ns, starts_at, ends_at) ON roaming_agreement TO cradle_activation;
GRANT SELECT, DELETE ON roaming_refusal, roaming_carried_refusal TO cradle_activation;
