-- An event is in one of two indexes: to find a device's last sessions must not cost more with each refusal,
-- or whoever sends wrong MICs could take the AppSKeys away from its application server.

CREATE INDEX join_event_session ON join_event (dev_eui, at) WHERE outcome = 'success';
CREATE INDEX join_event_refusal ON join_event (dev_eui, at) WHERE outcome <> 'success';
DROP INDEX join_event_device;
COMMENT ON INDEX join_event_session IS 'The sessions of a device.';
COMMENT ON INDEX join_event_refusal IS 'The refused attempts of a device. A query for both names both outcomes.';
