-- Storage KEKs have versions: what an old one sealed is sealed anew under the newest, while joins go on (docs/keys.md).

CREATE TABLE key_rewrap (
    target text PRIMARY KEY CHECK (octet_length(target) BETWEEN 3 AND 63),
    part smallint NOT NULL DEFAULT 0 CHECK (part BETWEEN 0 AND 2),
    at_device bytea NOT NULL DEFAULT '' CHECK (octet_length(at_device) IN (0, 8)),
    at_id bigint NOT NULL DEFAULT 0,
    n_done bigint NOT NULL DEFAULT 0 CHECK (n_done >= 0),
    n_pass bigint NOT NULL DEFAULT 0 CHECK (n_pass >= 0),
    n_stuck_pass bigint NOT NULL DEFAULT 0 CHECK (n_stuck_pass >= 0),
    n_stuck bigint NOT NULL DEFAULT 0 CHECK (n_stuck >= 0),
    reason text NOT NULL DEFAULT '' CHECK (octet_length(reason) <= 200),
    turn integer NOT NULL DEFAULT 0,
    lease_until timestamptz NOT NULL DEFAULT '-infinity',
    started_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz
);
COMMENT ON TABLE key_rewrap IS 'A walk over all sealed keys towards the versions that seal now. One row for each pair of versions that was the newest.';
COMMENT ON COLUMN key_rewrap.target IS 'Labels of the storage KEKs that seal device keys and peers'' KEKs, with a space between.';
COMMENT ON COLUMN key_rewrap.part IS 'What is walked over: 0 device keys, 1 peers'' KEKs, 2 transport KEKs of orders.';
COMMENT ON COLUMN key_rewrap.at_device IS 'The last device whose keys were looked at, or empty.';
COMMENT ON COLUMN key_rewrap.at_id IS 'The last row of the other tables, or 0; of device keys the slot.';
COMMENT ON COLUMN key_rewrap.n_done IS 'Keys that were sealed anew.';
COMMENT ON COLUMN key_rewrap.n_pass IS 'The same, since the walk last began at the first row.';
COMMENT ON COLUMN key_rewrap.n_stuck_pass IS 'Keys of this pass that stay under an old version.';
COMMENT ON COLUMN key_rewrap.n_stuck IS 'The same of the last whole pass.';
COMMENT ON COLUMN key_rewrap.reason IS 'Why the last of them does.';
COMMENT ON COLUMN key_rewrap.turn IS 'Bumped by whoever takes the walk: another one''s steps are not written any more.';
COMMENT ON COLUMN key_rewrap.lease_until IS 'Until then it is somebody''s.';
COMMENT ON COLUMN key_rewrap.started_at IS 'When a service first saw these versions.';
COMMENT ON COLUMN key_rewrap.finished_at IS 'When a walk over everything found nothing under an old version.';
GRANT SELECT, INSERT ON key_rewrap TO cradle_activation;
GRANT UPDATE (part, at_device, at_id, n_done, n_pass, n_stuck_pass, n_stuck, reason, turn, lease_until, finished_at) ON key_rewrap TO cradle_activation;

ALTER TABLE device_key ADD COLUMN n_rewrapped integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN device_key.n_rewrapped IS 'How often the same key was sealed anew. An UPDATE that changes this changes no key: sessions go on.';
DROP TRIGGER device_key_gate ON device_key;
CREATE TRIGGER device_key_gate AFTER DELETE ON device_key
    FOR EACH ROW EXECUTE FUNCTION device_key_changed();
CREATE TRIGGER device_key_gate_update AFTER UPDATE ON device_key
    FOR EACH ROW WHEN (NEW.n_rewrapped = OLD.n_rewrapped OR (NEW.dev_eui, NEW.slot, NEW.fingerprint) IS DISTINCT FROM
        (OLD.dev_eui, OLD.slot, OLD.fingerprint))
    EXECUTE FUNCTION device_key_changed();

GRANT UPDATE (kek_label, blob, tag) ON kek TO cradle_activation;
