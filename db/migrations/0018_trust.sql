-- Who has put a device into quarantine, so that nobody else lifts it.

ALTER TABLE device ADD COLUMN quarantined_by text CHECK (quarantined_by IN ('holder', 'operator'));
COMMENT ON COLUMN device.quarantined_by IS 'holder: its owner or, while it has none, its maker; operator: of this service. Null without a quarantine, and for one that was not asked for.';
