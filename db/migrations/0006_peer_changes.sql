-- A peer that is revoked stays, for the record; its name and its certificate's name are free for its successor.

ALTER TABLE peer DROP CONSTRAINT peer_kind_name_key, DROP CONSTRAINT peer_san_key;
CREATE UNIQUE INDEX peer_live_name ON peer (kind, name) WHERE revoked_at IS NULL;
CREATE UNIQUE INDEX peer_live_san ON peer (san) WHERE revoked_at IS NULL;
COMMENT ON INDEX peer_live_name IS 'One peer of a name at a time; the revoked ones do not count.';
COMMENT ON INDEX peer_live_san IS 'One peer of a SAN at a time; the revoked ones do not count.';

-- Revoking is for good: a peer that comes back is a new one, with a new token.
CREATE FUNCTION peer_stays_revoked() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'peer % is revoked', OLD.id USING ERRCODE = 'check_violation';
END
$$;
COMMENT ON FUNCTION peer_stays_revoked() IS 'Refuses a change of a revoked peer.';
CREATE TRIGGER peer_stays_revoked BEFORE UPDATE ON peer
    FOR EACH ROW WHEN (OLD.revoked_at IS NOT NULL) EXECUTE FUNCTION peer_stays_revoked();
