-- Sessions that can rejoin, and what makes a device suspect.

COMMENT ON COLUMN device_join.current_join_type IS 'The session that the device proved last by a Rejoin-Request of type 0 or 2, or while it proved none the one answered before the last: JoinReqType of the request that made it (255 join, 0, 1, 2 rejoin); null: none. Only sessions made with OptNeg are kept.';
COMMENT ON COLUMN device_join.current_join_nonce IS 'That session: its JoinNonce.';
COMMENT ON COLUMN device_join.current_nonce IS 'That session: its DevNonce, RJcount0 or RJcount1.';
COMMENT ON COLUMN device_join.current_net_id IS 'That session: NetID in its Join-Accept.';
COMMENT ON COLUMN device_join.current_rj_count0 IS 'That session: last RJcount0 taken, null before the first (LoRaWAN 1.1 6.2.4.1).';
COMMENT ON COLUMN device_join.pending_join_type IS 'The session answered last, with OptNeg, which the device may have or not: as current_join_type.';
COMMENT ON COLUMN device_join.pending_join_nonce IS 'Session answered last: its JoinNonce.';
COMMENT ON COLUMN device_join.pending_nonce IS 'Session answered last: its DevNonce, RJcount0 or RJcount1.';
COMMENT ON COLUMN device_join.pending_net_id IS 'Session answered last: NetID in its Join-Accept.';
COMMENT ON COLUMN device_join.pending_rj_count0 IS 'Session answered last: null, since a session that takes an RJcount0 is proved by it.';

-- No reference to device: as for join_event.
CREATE TABLE trust_signal (
    at timestamptz NOT NULL,
    dev_eui bytea NOT NULL,
    kind text NOT NULL CHECK (kind IN ('dev_nonce_jump')),
    from_value bigint NOT NULL,
    to_value bigint NOT NULL,
    ownership_epoch bigint NOT NULL
);
COMMENT ON TABLE trust_signal IS 'What speaks for a device being cloned or attacked; a person or a rule judges it. Append only.';
COMMENT ON COLUMN trust_signal.at IS 'When, by this database''s clock.';
COMMENT ON COLUMN trust_signal.dev_eui IS 'Which device.';
COMMENT ON COLUMN trust_signal.kind IS 'dev_nonce_jump: a counted DevNonce more than 1,000 above the last one.';
COMMENT ON COLUMN trust_signal.from_value IS 'The value before: a DevNonce.';
COMMENT ON COLUMN trust_signal.to_value IS 'The value after.';
COMMENT ON COLUMN trust_signal.ownership_epoch IS 'Of the device, then: a later owner does not see it.';
CREATE INDEX trust_signal_device ON trust_signal (dev_eui, at);

GRANT INSERT ON trust_signal TO cradle_join;
GRANT SELECT ON trust_signal TO cradle_activation;
