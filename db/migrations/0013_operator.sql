-- What the operator's REST API needs to name and to change things.

-- A path names a peer there. The KEK of an application server is bound to its AS-ID, so that one is not renamed.
DO $$
DECLARE
    wrong text;
    n bigint;
BEGIN
    SELECT count(*), string_agg(kind || ' ' || quote_literal(name), ', ' ORDER BY id) FILTER (WHERE place <= 3)
        INTO n, wrong
        FROM (SELECT id, kind, name, row_number() OVER (ORDER BY id) AS place FROM peer
            WHERE revoked_at IS NULL
                AND (name LIKE '%/%' OR name IN ('.', '..') OR name ~ E'[\\x01-\\x1f\\x7f]')) AS found;
    IF n > 0 THEN
        RAISE EXCEPTION '% peers have names that no path can hold (/, ., .., control characters): UPDATE peer SET name = ... '
            'for a network server; cradle as revoke with the former release for an application server. Like %', n, wrong;
    END IF;
END $$;

ALTER TABLE kek ADD COLUMN public_id bytea NOT NULL UNIQUE DEFAULT decode(replace(gen_random_uuid()::text, '-', ''), 'hex')
    CHECK (octet_length(public_id) = 16);
COMMENT ON COLUMN kek.public_id IS 'The id that the REST API names it by, 16 random bytes; no label or name has to stand in a path.';
COMMENT ON COLUMN kek.peer_id IS 'NetID as 6 lower-case hex digits, NetID/NSID, AS-ID, or the public id of an organization; bound by the tag.';
