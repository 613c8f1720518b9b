-- What a device is: identity, states, sealed keys. Everything of a device is keyed by its dev_eui, so
-- that the tables can be hash-partitioned or distributed without touching a statement; references
-- between them are over dev_eui and stay inside one shard.

CREATE TABLE batch (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    organization_id bigint NOT NULL REFERENCES organization,
    format text NOT NULL CHECK (octet_length(format) BETWEEN 1 AND 40),
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    n_created bigint CHECK (n_created >= 0),
    n_refused bigint CHECK (n_refused >= 0)
);
COMMENT ON TABLE batch IS 'Devices that came in together, by a maker''s file.';
COMMENT ON COLUMN batch.id IS 'Number of the batch.';
COMMENT ON COLUMN batch.organization_id IS 'The maker.';
COMMENT ON COLUMN batch.format IS 'Format of the file as the caller named it.';
COMMENT ON COLUMN batch.created_at IS 'When its first row was read.';
COMMENT ON COLUMN batch.finished_at IS 'When its last row was answered; null while it is coming in, or when that broke off.';
COMMENT ON COLUMN batch.n_created IS 'Devices made by it; null until finished.';
COMMENT ON COLUMN batch.n_refused IS 'Rows refused; null until finished.';
CREATE INDEX batch_organization ON batch (organization_id, id);

CREATE TABLE device (
    dev_eui bytea PRIMARY KEY CHECK (octet_length(dev_eui) = 8),
    kind text NOT NULL DEFAULT 'lorawan' CHECK (kind IN ('lorawan', 'sigfox')),
    join_eui bytea CHECK (octet_length(join_eui) = 8),
    mac_version text CHECK (mac_version IN ('1.0.0', '1.0.1', '1.0.2', '1.0.3', '1.0.4', '1.1')),
    organization_id bigint NOT NULL REFERENCES organization,
    batch_id bigint REFERENCES batch,
    owner_id bigint REFERENCES organization,
    ownership_epoch bigint NOT NULL DEFAULT 0 CHECK (ownership_epoch BETWEEN 0 AND 4294967295),
    credential text NOT NULL CHECK (credential IN
        ('ordered', 'generated', 'delivered', 'personalized', 'activable', 'scrapped')),
    ownership text NOT NULL DEFAULT 'unowned' CHECK (ownership IN ('unowned', 'claimed', 'offered')),
    service text NOT NULL DEFAULT 'inactive' CHECK (service IN ('inactive', 'active', 'suspended')),
    trust text NOT NULL DEFAULT 'ok' CHECK (trust IN ('ok', 'suspect', 'quarantined')),
    home_net_id bytea CHECK (octet_length(home_net_id) = 3),
    as_id text CHECK (octet_length(as_id) BETWEEN 1 AND 64),
    nonce_epoch bigint NOT NULL DEFAULT 0 CHECK (nonce_epoch BETWEEN 0 AND 4294967295),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT device_lorawan_complete CHECK
        (kind <> 'lorawan' OR (join_eui IS NOT NULL AND mac_version IS NOT NULL)),
    CONSTRAINT device_owned_by_someone CHECK ((ownership = 'unowned') = (owner_id IS NULL))
);
COMMENT ON TABLE device IS 'A device: identity, states, home. Its hot numbers are in device_join, its keys in device_key.';
COMMENT ON COLUMN device.dev_eui IS 'DevEUI, 8 bytes, most significant first (LoRaWAN 1.1 6.1.1.2); of a classic Sigfox credential its 4-byte id after 4 zero bytes.';
COMMENT ON COLUMN device.kind IS 'What dev_eui identifies: lorawan or sigfox.';
COMMENT ON COLUMN device.join_eui IS 'JoinEUI (LoRaWAN 1.1 6.1.1.1; AppEUI before 1.0.4). The sealed keys are bound to it.';
COMMENT ON COLUMN device.mac_version IS 'The LoRaWAN version the device was built to; decides the nonce rule and the root-key slots. Never taken from a request.';
COMMENT ON COLUMN device.organization_id IS 'The maker.';
COMMENT ON COLUMN device.batch_id IS 'The batch that brought it.';
COMMENT ON COLUMN device.owner_id IS 'The present owner; null exactly while ownership is unowned.';
COMMENT ON COLUMN device.ownership_epoch IS 'Grows by one with each claim; histories and codes belong to an epoch.';
COMMENT ON COLUMN device.credential IS 'Axis of state: where the key material is on its way into the device.';
COMMENT ON COLUMN device.ownership IS 'Axis of state: whether it has an owner.';
COMMENT ON COLUMN device.service IS 'Axis of state: whether its owner wants it to join.';
COMMENT ON COLUMN device.trust IS 'Axis of state: whether it behaves like the one device it is.';
COMMENT ON COLUMN device.home_net_id IS 'NetID of the home network (TS002-1.0 HNetID), 3 bytes; null: none yet.';
COMMENT ON COLUMN device.as_id IS 'AS-ID of the application server whose KEK wraps the AppSKey; null: none yet.';
COMMENT ON COLUMN device.nonce_epoch IS 'Bumped by reset-nonces: at the next join the DevNonce memory starts empty. JoinNonce is not touched.';
COMMENT ON COLUMN device.created_at IS 'When it was made.';
CREATE INDEX device_batch ON device (batch_id, dev_eui);
CREATE INDEX device_organization ON device (organization_id, dev_eui);
CREATE INDEX device_owner ON device (owner_id, dev_eui) WHERE owner_id IS NOT NULL;

CREATE TABLE device_key (
    dev_eui bytea NOT NULL REFERENCES device,
    slot smallint NOT NULL CHECK (slot IN (1, 2)),
    kek_label text NOT NULL CHECK (octet_length(kek_label) BETWEEN 1 AND 31),
    blob bytea NOT NULL CHECK (octet_length(blob) IN (24, 32, 40)),
    tag bytea NOT NULL CHECK (octet_length(tag) = 32),
    kcv bytea NOT NULL CHECK (octet_length(kcv) = 3),
    PRIMARY KEY (dev_eui, slot)
);
COMMENT ON TABLE device_key IS 'Root keys, sealed. Only the key process can open one, and only on the row it was sealed for.';
COMMENT ON COLUMN device_key.dev_eui IS 'Whose key it is; bound by the tag.';
COMMENT ON COLUMN device_key.slot IS '1: AppKey; 2: NwkKey (LoRaWAN 1.1 6.1.1.3); bound by the tag.';
COMMENT ON COLUMN device_key.kek_label IS 'Label of the storage KEK in the HSM; bound by the tag.';
COMMENT ON COLUMN device_key.blob IS 'The key wrapped under that KEK (RFC 3394).';
COMMENT ON COLUMN device_key.tag IS 'HMAC-SHA-256, made in the HSM, over 1 | dev_eui | join_eui | slot | kek_label | blob.';
COMMENT ON COLUMN device_key.kcv IS 'Key check value, 3 bytes: lets people compare two keys without seeing either.';

GRANT SELECT, INSERT ON batch TO cradle_activation;
GRANT UPDATE (finished_at, n_created, n_refused) ON batch TO cradle_activation;
GRANT SELECT, INSERT, UPDATE ON device TO cradle_activation;
GRANT SELECT, INSERT, UPDATE, DELETE ON device_key TO cradle_activation;
-- The join server reads what a join needs and can change none of it.
GRANT SELECT ON device TO cradle_join;
GRANT SELECT (dev_eui, slot, kek_label, blob, tag) ON device_key TO cradle_join;
