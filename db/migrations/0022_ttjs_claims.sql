-- Claims by application servers, over the claim API of The Things Join Server: who they are here, and what they said.

ALTER TABLE client ADD COLUMN peer_id bigint REFERENCES peer;
COMMENT ON COLUMN client.peer_id IS 'The application server that this client is: it proves itself by that one''s certificate, and has no secret that anybody knows. Null of any other.';
CREATE UNIQUE INDEX client_of_peer ON client (peer_id) WHERE revoked_at IS NULL;
COMMENT ON INDEX client_of_peer IS 'An application server is one client at a time; the revoked ones do not count.';

-- No reference to the owner: the epoch says whose claim it was.
CREATE TABLE ttjs_claim (
    dev_eui bytea PRIMARY KEY REFERENCES device,
    ownership_epoch bigint NOT NULL,
    home_net_id bytea NOT NULL CHECK (octet_length(home_net_id) = 3),
    home_ns_id bytea CHECK (octet_length(home_ns_id) = 8),
    locked boolean NOT NULL
);
COMMENT ON TABLE ttjs_claim IS 'What an application server said in its last claim of a device, and is told again; of no effect here. Counts in that epoch alone.';
COMMENT ON COLUMN ttjs_claim.dev_eui IS 'Which device.';
COMMENT ON COLUMN ttjs_claim.ownership_epoch IS 'That of the claim.';
COMMENT ON COLUMN ttjs_claim.home_net_id IS 'The home network that it named: the NSID is one of that.';
COMMENT ON COLUMN ttjs_claim.home_ns_id IS 'homeNSID; null: none was named.';
COMMENT ON COLUMN ttjs_claim.locked IS 'lock; no claim here is taken over, whatever it says.';
GRANT SELECT, INSERT ON ttjs_claim TO cradle_activation;
GRANT UPDATE (ownership_epoch, home_net_id, home_ns_id, locked) ON ttjs_claim TO cradle_activation;
