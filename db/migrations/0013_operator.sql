-- What the operator's REST API needs to name and to change things.

ALTER TABLE kek ADD COLUMN public_id bytea NOT NULL UNIQUE DEFAULT decode(replace(gen_random_uuid()::text, '-', ''), 'hex')
    CHECK (octet_length(public_id) = 16);
COMMENT ON COLUMN kek.public_id IS 'The id that the REST API names it by, 16 random bytes; no label or name has to stand in a path.';
COMMENT ON COLUMN kek.peer_id IS 'NetID as 6 lower-case hex digits, NetID/NSID, AS-ID, or the public id of an organization; bound by the tag.';
