-- Orders: credentials that are made here, in the HSM, for a maker who builds devices with them.

ALTER TABLE organization
    ADD COLUMN orders_need_approval boolean NOT NULL DEFAULT false,
    ADD COLUMN allow_legacy_delivery boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN organization.orders_need_approval IS 'Whether an order of its waits until another of its clients than the one that asked has approved it.';
COMMENT ON COLUMN organization.allow_legacy_delivery IS 'Whether its orders may be delivered as id_key.bin, whose records nothing protects against being changed or swapped.';
GRANT UPDATE (orders_need_approval, allow_legacy_delivery) ON organization TO cradle_activation;

ALTER TABLE certificate
    ADD COLUMN module_id bigint REFERENCES certificate,
    ADD COLUMN prototype_quota integer NOT NULL DEFAULT 0 CHECK (prototype_quota BETWEEN 0 AND 100000),
    ADD COLUMN n_prototypes integer NOT NULL DEFAULT 0,
    ADD CONSTRAINT certificate_of_product CHECK (kind = 'product' OR module_id IS NULL),
    ADD CONSTRAINT certificate_of_module CHECK (kind = 'module' OR prototype_quota = 0),
    ADD CONSTRAINT certificate_prototypes CHECK (n_prototypes BETWEEN 0 AND prototype_quota);
COMMENT ON COLUMN certificate.module_id IS 'Of a product, the module that it is built with: the credentials of that module''s orders become activable under it. Null: of none.';
COMMENT ON COLUMN certificate.prototype_quota IS 'Of a module, how many devices may become activable before a product certificate for it exists.';
COMMENT ON COLUMN certificate.n_prototypes IS 'How many have.';
GRANT UPDATE (prototype_quota, n_prototypes) ON certificate TO cradle_activation;
CREATE INDEX certificate_module ON certificate (module_id) WHERE module_id IS NOT NULL;

ALTER TABLE device ADD COLUMN certificate_id bigint REFERENCES certificate;
COMMENT ON COLUMN device.certificate_id IS 'Under which certificate it became activable: that of its product, or of its module as a prototype. Null: under none.';

CREATE TABLE eui_block (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    public_id bytea NOT NULL UNIQUE DEFAULT decode(replace(gen_random_uuid()::text, '-', ''), 'hex')
        CHECK (octet_length(public_id) = 16),
    organization_id bigint NOT NULL REFERENCES organization,
    kind text NOT NULL CHECK (kind IN ('lorawan', 'sigfox')),
    first bytea NOT NULL CHECK (octet_length(first) = 8),
    last bytea NOT NULL CHECK (octet_length(last) = 8),
    size bigint NOT NULL CHECK (size BETWEEN 1 AND 1099511627776),
    n_given bigint NOT NULL DEFAULT 0,
    span numrange NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    closed_at timestamptz,
    CONSTRAINT eui_block_last CHECK (last >= first),
    CONSTRAINT eui_block_given CHECK (n_given BETWEEN 0 AND size),
    CONSTRAINT eui_block_span CHECK (upper(span) - lower(span) = size AND lower_inc(span) AND NOT upper_inc(span)),
    CONSTRAINT eui_block_apart EXCLUDE USING gist (span WITH &&)
);
COMMENT ON TABLE eui_block IS 'Identifiers that a maker may have devices made with: a run of DevEUIs, or of Sigfox ids. No two overlap.';
COMMENT ON COLUMN eui_block.id IS 'Number inside this database.';
COMMENT ON COLUMN eui_block.public_id IS 'The id that the world sees, 16 random bytes.';
COMMENT ON COLUMN eui_block.organization_id IS 'The maker.';
COMMENT ON COLUMN eui_block.kind IS 'What its identifiers are: DevEUIs, or Sigfox ids behind 4 zero bytes.';
COMMENT ON COLUMN eui_block.first IS 'The first of them, as device.dev_eui has it.';
COMMENT ON COLUMN eui_block.last IS 'The last of them. No two blocks overlap: the one with the greatest first up to an identifier, and no other, may have it.';
COMMENT ON COLUMN eui_block.size IS 'How many there are.';
COMMENT ON COLUMN eui_block.n_given IS 'How many were given to orders, from the first on, without a gap. Never goes back: what was given is never given again.';
COMMENT ON COLUMN eui_block.span IS 'The same run as numbers, for the constraint that keeps blocks apart.';
COMMENT ON COLUMN eui_block.created_at IS 'When it was made.';
COMMENT ON COLUMN eui_block.closed_at IS 'Since when nothing more is given from it; null while it is open.';
CREATE UNIQUE INDEX eui_block_first ON eui_block (first);
CREATE INDEX eui_block_organization ON eui_block (organization_id, kind, id);
GRANT SELECT, INSERT ON eui_block TO cradle_activation;
GRANT UPDATE (n_given, closed_at) ON eui_block TO cradle_activation;

CREATE TABLE batch_order (
    batch_id bigint PRIMARY KEY REFERENCES batch,
    module_id bigint NOT NULL REFERENCES certificate,
    device_kind text NOT NULL CHECK (device_kind IN ('lorawan', 'sigfox')),
    n bigint NOT NULL CHECK (n BETWEEN 1 AND 1000000),
    wanted_block_id bigint REFERENCES eui_block,
    block_id bigint REFERENCES eui_block,
    first bytea CHECK (octet_length(first) = 8),
    join_eui bytea CHECK (octet_length(join_eui) = 8),
    mac_version text CHECK (mac_version IN ('1.0.0', '1.0.1', '1.0.2', '1.0.3', '1.0.4', '1.1')),
    profile_id bytea CHECK (octet_length(profile_id) = 4),
    delivery text NOT NULL CHECK (delivery IN ('jwe', 'legacy')),
    public_key text NOT NULL CHECK (octet_length(public_key) BETWEEN 1 AND 4096),
    key_digest bytea NOT NULL CHECK (octet_length(key_digest) = 32),
    code_length smallint NOT NULL CHECK (code_length IN (16, 26)),
    state text NOT NULL CHECK (state IN ('requested', 'rejected', 'approved', 'ready', 'failed', 'cancelled')),
    asked_by bytea NOT NULL REFERENCES client,
    decided_by bytea REFERENCES client,
    decided_at timestamptz,
    reason text CHECK (octet_length(reason) BETWEEN 1 AND 200),
    request_id text NOT NULL CHECK (octet_length(request_id) BETWEEN 1 AND 40),
    transport_label text CHECK (octet_length(transport_label) BETWEEN 1 AND 64),
    transport_kek_label text CHECK (octet_length(transport_kek_label) BETWEEN 1 AND 31),
    transport_blob bytea CHECK (octet_length(transport_blob) IN (24, 32, 40)),
    transport_tag bytea CHECK (octet_length(transport_tag) = 32),
    transport_kcv bytea CHECK (octet_length(transport_kcv) = 3),
    transport_text bytea CHECK (octet_length(transport_text) BETWEEN 256 AND 1024),
    n_broken integer NOT NULL DEFAULT 0 CHECK (n_broken >= 0),
    ready_at timestamptz,
    manifest text,
    delivered_at timestamptz,
    n_marked bigint NOT NULL DEFAULT 0 CHECK (n_marked >= 0),
    files_until timestamptz,
    files_deleted_at timestamptz,
    CONSTRAINT batch_order_complete CHECK (device_kind <> 'lorawan' OR (join_eui IS NOT NULL AND mac_version IS NOT NULL)),
    CONSTRAINT batch_order_given CHECK ((block_id IS NULL) = (first IS NULL)),
    CONSTRAINT batch_order_begun CHECK (first IS NOT NULL OR state IN ('requested', 'rejected', 'cancelled')),
    CONSTRAINT batch_order_decided CHECK ((decided_by IS NULL) = (decided_at IS NULL)),
    CONSTRAINT batch_order_by_another CHECK (decided_by IS NULL OR decided_by <> asked_by OR state IN ('rejected', 'cancelled')),
    CONSTRAINT batch_order_transport CHECK ((transport_blob IS NULL) = (transport_text IS NULL)),
    CONSTRAINT batch_order_marked CHECK (n_marked <= n)
);
COMMENT ON TABLE batch_order IS 'A batch that was not brought in but ordered: what is to be made, how far that is, and how it leaves.';
COMMENT ON COLUMN batch_order.batch_id IS 'Which batch.';
COMMENT ON COLUMN batch_order.module_id IS 'The certificate of the module that the credentials are for.';
COMMENT ON COLUMN batch_order.device_kind IS 'lorawan: DevEUI, AppKey, and NwkKey for 1.1. sigfox: 4-byte id and NAK, which stands in the slot of the AppKey.';
COMMENT ON COLUMN batch_order.n IS 'How many.';
COMMENT ON COLUMN batch_order.wanted_block_id IS 'The block that they are to be of, and of no other; null: of any of the maker''s.';
COMMENT ON COLUMN batch_order.block_id IS 'The block that its identifiers are of; null until it is approved.';
COMMENT ON COLUMN batch_order.first IS 'The first of its n identifiers; the others follow without a gap.';
COMMENT ON COLUMN batch_order.join_eui IS 'JoinEUI of all of them; null of sigfox.';
COMMENT ON COLUMN batch_order.mac_version IS 'LoRaWAN version of all of them; null of sigfox.';
COMMENT ON COLUMN batch_order.profile_id IS 'ProfileID of their onboarding codes (TR005): VendorID and VendorProfileID, 2 bytes each; null: zeros.';
COMMENT ON COLUMN batch_order.delivery IS 'jwe: one encrypted and signed file; legacy: id_key.bin.';
COMMENT ON COLUMN batch_order.public_key IS 'RSA key of the maker''s, in PEM, that what opens the file is sealed to.';
COMMENT ON COLUMN batch_order.key_digest IS 'SHA-256 of that key as DER (SubjectPublicKeyInfo): what whoever approves the order compares.';
COMMENT ON COLUMN batch_order.code_length IS 'Characters of the claim codes.';
COMMENT ON COLUMN batch_order.state IS 'requested: waits for another client; approved: has its identifiers, and its job makes the credentials; ready: all are made; rejected, failed, cancelled: for good.';
COMMENT ON COLUMN batch_order.asked_by IS 'Which client asked for it.';
COMMENT ON COLUMN batch_order.decided_by IS 'Which client approved or rejected it; null where none had to.';
COMMENT ON COLUMN batch_order.decided_at IS 'When.';
COMMENT ON COLUMN batch_order.reason IS 'Why it was rejected, in the words of who did; null: none were given.';
COMMENT ON COLUMN batch_order.request_id IS 'The request that set it going, for the events of its job.';
COMMENT ON COLUMN batch_order.transport_label IS 'Label of the key, made in the HSM, under which the credentials leave; null until the job has begun.';
COMMENT ON COLUMN batch_order.transport_kek_label IS 'Label of the storage KEK that it is sealed under.';
COMMENT ON COLUMN batch_order.transport_blob IS 'It, wrapped (RFC 3394).';
COMMENT ON COLUMN batch_order.transport_tag IS 'HMAC-SHA-256, made in the HSM, that binds it to organization and label (base/sealed.h).';
COMMENT ON COLUMN batch_order.transport_kcv IS 'Its key check value.';
COMMENT ON COLUMN batch_order.transport_text IS 'It again, sealed in the HSM to the maker''s public key (RSAES-OAEP).';
COMMENT ON COLUMN batch_order.n_broken IS 'How many turns in a row a service has failed on it for no reason outside; a chunk that is done makes it 0.';
COMMENT ON COLUMN batch_order.ready_at IS 'When all were made.';
COMMENT ON COLUMN batch_order.manifest IS 'What the file begins with: a JWS that names batch, count and digest of the records, signed in the HSM.';
COMMENT ON COLUMN batch_order.delivered_at IS 'When a file with its keys was first taken away.';
COMMENT ON COLUMN batch_order.n_marked IS 'How many of its devices, by their line, have been marked as delivered since.';
COMMENT ON COLUMN batch_order.files_until IS 'Until when its files are kept.';
COMMENT ON COLUMN batch_order.files_deleted_at IS 'Since when they are gone: nobody can have the keys from here again.';
CREATE INDEX batch_order_module ON batch_order (module_id);
CREATE INDEX batch_order_open ON batch_order (batch_id) WHERE state IN ('requested', 'approved');
CREATE INDEX batch_order_to_mark ON batch_order (batch_id) WHERE delivered_at IS NOT NULL AND n_marked < n;
CREATE INDEX batch_order_kept ON batch_order (files_until) WHERE files_until IS NOT NULL AND files_deleted_at IS NULL;
GRANT SELECT, INSERT ON batch_order TO cradle_activation;
GRANT UPDATE (block_id, first, state, decided_by, decided_at, reason, request_id, transport_label, transport_kek_label, transport_blob, transport_tag,
    transport_kcv, transport_text, n_broken, ready_at, manifest, delivered_at, n_marked, files_until, files_deleted_at) ON batch_order TO cradle_activation;

CREATE TABLE delivery_part (
    batch_id bigint NOT NULL REFERENCES batch_order,
    line bigint NOT NULL CHECK (line > 0),
    bytes bytea NOT NULL,
    PRIMARY KEY (batch_id, line)
);
-- Sealed bytes do not get smaller, and trying costs.
ALTER TABLE delivery_part ALTER COLUMN bytes SET STORAGE EXTERNAL;
COMMENT ON TABLE delivery_part IS 'What a maker gets of the credentials of an order, in pieces, until its files are deleted. No key in clear: each is wrapped in the HSM under the order''s transport key.';
COMMENT ON COLUMN delivery_part.batch_id IS 'Which order.';
COMMENT ON COLUMN delivery_part.line IS 'Line of its first record.';
COMMENT ON COLUMN delivery_part.bytes IS 'Records, as activation/delivery_record.h has them.';
GRANT SELECT, INSERT, DELETE ON delivery_part TO cradle_activation;

CREATE TABLE batch_download (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    batch_id bigint NOT NULL REFERENCES batch_order,
    name text NOT NULL CHECK (octet_length(name) BETWEEN 1 AND 40),
    client_id bytea NOT NULL REFERENCES client,
    request_id text NOT NULL CHECK (octet_length(request_id) BETWEEN 1 AND 40),
    at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE batch_download IS 'Who has taken which file of an order. Append only; written before the first byte leaves.';
COMMENT ON COLUMN batch_download.id IS 'Order of writing.';
COMMENT ON COLUMN batch_download.batch_id IS 'Which order.';
COMMENT ON COLUMN batch_download.name IS 'Which file.';
COMMENT ON COLUMN batch_download.client_id IS 'Which client.';
COMMENT ON COLUMN batch_download.request_id IS 'X-Request-Id of the call.';
COMMENT ON COLUMN batch_download.at IS 'When.';
CREATE INDEX batch_download_batch ON batch_download (batch_id, name);
GRANT SELECT, INSERT ON batch_download TO cradle_activation;

ALTER TABLE job DROP CONSTRAINT job_kind_check, DROP CONSTRAINT job_waits,
    ADD CONSTRAINT job_kind_check CHECK (kind IN ('import', 'dry_run', 'export', 'move', 'order')),
    ADD CONSTRAINT job_waits CHECK (state <> 'waiting' OR kind IN ('export', 'move', 'order'));
COMMENT ON COLUMN job.kind IS 'import: a file of devices; dry_run: the same without making any; export: a file of devices on their way out, which a service writes by itself; move: devices that are moved, order: credentials that are made, by a service too.';
COMMENT ON COLUMN job.line IS 'Of an import, the last line of the file that is done: everything up to it is committed and answered, nothing behind it is there. Of an export, a move or an order, how many devices are done.';
DROP INDEX job_to_do;
CREATE INDEX job_to_do ON job (kind, id) WHERE kind IN ('export', 'move', 'order') AND state IN ('waiting', 'running');

ALTER TABLE device_key DROP CONSTRAINT device_key_origin_check,
    ADD CONSTRAINT device_key_origin_check CHECK (origin IN ('clear', 'wrapped', 'sealed', 'made'));
COMMENT ON COLUMN device_key.origin IS 'How its maker''s file brought it: in clear, wrapped under his transport KEK, or sealed to the exchange key; or made here, in the HSM, for an order. Null: from before this was recorded.';

COMMENT ON COLUMN job.digest IS 'SHA-256 of the file from its first byte to the end of that line, without what ends the line; of one that is done, of the whole file. Who goes on with the job must send the same. Of an order, the digest of its records so far (activation/delivery_record.h). Null before the first line, and of a file without an Idempotency-Key.';

-- The end of an order is told as that of an import; and the second time that a file with new credentials is taken, its maker is.
DROP TRIGGER webhook_batch_done ON job;
CREATE TRIGGER webhook_batch_done AFTER UPDATE OF state ON job FOR EACH ROW
    WHEN (NEW.kind IN ('import', 'order') AND NEW.state <> OLD.state AND NEW.state IN ('done', 'failed', 'cancelled'))
    EXECUTE FUNCTION webhook_batch_done();
COMMENT ON FUNCTION webhook_batch_done() IS 'Tells the maker that an import or an order has ended.';

CREATE FUNCTION batch_download_told() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    times bigint := (SELECT count(*) FROM public.batch_download d WHERE d.batch_id = NEW.batch_id AND d.name = NEW.name);
BEGIN
    IF times > 1 THEN
        PERFORM public.webhook_tell(b.organization_id, 256, 'delivery.repeated', NEW.at, jsonb_build_object(
            'batch', encode(b.public_id, 'hex'), 'file', NEW.name, 'times', times, 'client', encode(NEW.client_id, 'hex')))
            FROM public.batch b WHERE b.id = NEW.batch_id;
    ELSE
        PERFORM pg_notify('cradle_work', '');
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION batch_download_told() IS 'Has devices marked whose keys are taken away, and tells their maker when a file is taken again.';
CREATE TRIGGER batch_download_told AFTER INSERT ON batch_download
    FOR EACH ROW EXECUTE FUNCTION batch_download_told();
COMMENT ON COLUMN webhook.events IS 'Types that are wanted, a bit each: 1 device.claimed, 2 claim.refused, 4 batch.done, 8 device.first_join, 16 device.offered, 32 device.quarantined, 64 device.suspect, 128 subscription.ending, 256 delivery.repeated.';

CREATE INDEX audit_event_of_made ON audit_event (object, ((detail->>'line')::bigint)) WHERE action = 'order.chunk';
COMMENT ON INDEX audit_event_of_made IS 'The chunk of an order that a line was in.';

-- As 0025 made it, with the hand-over from who ordered a device to who built it.
DROP INDEX audit_event_of_keys;
CREATE INDEX audit_event_of_keys ON audit_event (object, id) WHERE action IN ('device.export', 'device.hand-over', 'device.scrap');
COMMENT ON INDEX audit_event_of_keys IS 'What has happened to the keys of a device, and who is its maker since when.';

-- What a label says stays what the list of built devices is checked by, also where its device was claimed before that list came.
ALTER TABLE claim_code
    ADD COLUMN pac_generation integer CHECK (pac_generation >= 1),
    ADD COLUMN pac_hash bytea CHECK (octet_length(pac_hash) = 32),
    ADD COLUMN pac_made boolean,
    ADD CONSTRAINT claim_code_pac CHECK ((pac_hash IS NULL) = (pac_generation IS NULL) AND (pac_hash IS NULL) = (pac_made IS NULL)),
    ADD CONSTRAINT claim_code_pac_of_before CHECK (pac_hash IS NULL OR origin = 'claimed');
COMMENT ON COLUMN claim_code.pac_generation IS 'Of the last code that was its maker''s: its generation. No claim is made by it any more; the list of built devices is checked by it. Null while the present code is the maker''s, and for codes that were renewed before this was kept.';
COMMENT ON COLUMN claim_code.pac_hash IS 'Of the same, the keyed hash.';
COMMENT ON COLUMN claim_code.pac_made IS 'Of the same, whether it was made here.';

CREATE FUNCTION claim_code_keeps_pac() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.pac_generation := OLD.generation;
    NEW.pac_hash := OLD.hash;
    NEW.pac_made := OLD.origin = 'made';
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION claim_code_keeps_pac() IS 'A claim, or an owner, renews a code that was the maker''s.';
CREATE TRIGGER claim_code_keeps_pac BEFORE UPDATE OF origin ON claim_code
    FOR EACH ROW WHEN (OLD.origin <> 'claimed' AND NEW.origin = 'claimed') EXECUTE FUNCTION claim_code_keeps_pac();

-- As 0029 made it: a device that is handed over is not its former maker's to test.
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
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION device_lets_go() IS 'What is not suspended is suspended by nobody; and a test window is of a device that nobody owns, that is not scrapped, and that its maker has not handed over.';
DROP TRIGGER device_lets_go ON device;
CREATE TRIGGER device_lets_go BEFORE UPDATE OF ownership, ownership_epoch, credential, service, organization_id ON device
    FOR EACH ROW WHEN (NEW.test_net_id IS NOT NULL OR NEW.suspended_by IS NOT NULL) EXECUTE FUNCTION device_lets_go();

-- What is handed over is not the former maker's to give away: his rules do not walk it.
DROP INDEX device_never_owned;
CREATE INDEX device_never_owned ON device (batch_id, organization_id, dev_eui)
    WHERE credential = 'activable' AND ownership = 'unowned' AND ownership_epoch = 0 AND trust <> 'quarantined';
COMMENT ON INDEX device_never_owned IS 'What a rule may claim for its owner: devices of a batch that its maker has, that nobody has owned yet, activable and not in quarantine.';
