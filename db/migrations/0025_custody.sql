-- Where a root key came from, for custody statements.

ALTER TABLE device_key
    ADD COLUMN origin text CHECK (origin IN ('clear', 'wrapped', 'sealed')),
    ADD COLUMN transport_kek text CHECK (octet_length(transport_kek) BETWEEN 1 AND 64),
    ADD CONSTRAINT device_key_transport CHECK (transport_kek IS NULL OR origin = 'wrapped');
COMMENT ON COLUMN device_key.origin IS 'How its maker''s file brought it: in clear, wrapped under his transport KEK, or sealed to the exchange key. Null: from before this was recorded.';
COMMENT ON COLUMN device_key.transport_kek IS 'Label of that transport KEK.';

-- What concerns the keys of one device, among all events.
CREATE INDEX audit_event_of_keys ON audit_event (object, id) WHERE action IN ('device.export', 'device.scrap');
COMMENT ON INDEX audit_event_of_keys IS 'What has happened to the keys of a device.';
CREATE INDEX audit_event_of_chunk ON audit_event (object, ((detail->>'line')::bigint)) WHERE action = 'import.chunk';
COMMENT ON INDEX audit_event_of_chunk IS 'The chunk of an import that a line was in.';
