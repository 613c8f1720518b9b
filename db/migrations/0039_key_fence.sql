-- What is under a version of a key that is being retired, or was, cannot be stored any more (docs/keys.md).

CREATE TABLE key_fence (
    key text PRIMARY KEY CHECK (octet_length(key) BETWEEN 1 AND 31),
    since timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE key_fence IS 'Versions of keys that nothing may come to need any more: `cradle hsm retire` has begun with them. They stay, for whoever sealed something long ago may still want to store it.';
COMMENT ON COLUMN key_fence.key IS 'A storage KEK''s label, or tag.N, or code.N.';
COMMENT ON COLUMN key_fence.since IS 'When retire began.';
GRANT SELECT ON key_fence TO cradle_activation;

CREATE FUNCTION key_version(hash bytea) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN octet_length(hash) = 32 THEN 1 ELSE get_byte(hash, 32) * 256 + get_byte(hash, 33) END $$;
COMMENT ON FUNCTION key_version(bytea) IS 'Of the key that made a keyed hash (base/keyed.h); null where there is none.';
GRANT EXECUTE ON FUNCTION key_version(bytea) TO cradle_activation;

-- Whoever stores holds the shared lock until his commit, and looks after he has it, by a snapshot of its own. Who puts a fence up holds
-- it alone until the fence is committed (db/fence.h): so either this sees the fence, or what comes behind the fence sees the row.
CREATE FUNCTION key_fence_holds() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    met text;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('fence of keys', 0));
    IF NOT EXISTS (SELECT FROM public.key_fence) THEN
        RETURN NULL;
    END IF;
    CASE TG_TABLE_NAME
    WHEN 'claim_code' THEN
        SELECT f.key INTO met FROM public.key_fence f WHERE EXISTS (SELECT FROM added a
            WHERE f.key IN ('code.' || public.key_version(a.hash), 'code.' || public.key_version(a.pac_hash))) LIMIT 1;
    WHEN 'batch_order' THEN
        SELECT f.key INTO met FROM public.key_fence f WHERE EXISTS (SELECT FROM added a WHERE a.transport_blob IS NOT NULL
            AND (f.key IN (a.transport_kek_label, 'tag.' || public.key_version(a.transport_tag))
                OR (a.files_deleted_at IS NULL AND f.key = 'code.' || a.code_key))) LIMIT 1;
    ELSE
        SELECT f.key INTO met FROM public.key_fence f WHERE EXISTS (SELECT FROM added a
            WHERE f.key IN (a.kek_label, 'tag.' || public.key_version(a.tag))) LIMIT 1;
    END CASE;
    IF met IS NOT NULL THEN
        RAISE EXCEPTION '% is being retired, or was: nothing that needs it is stored any more', met USING ERRCODE = 'ZK001';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION key_fence_holds() IS 'Refuses rows that need a version of a key that is in key_fence (SQLSTATE ZK001).';

CREATE TRIGGER key_fence_of_new AFTER INSERT ON device_key REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION key_fence_holds();
CREATE TRIGGER key_fence_of_changed AFTER UPDATE ON device_key REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION key_fence_holds();
CREATE TRIGGER key_fence_of_new AFTER INSERT ON kek REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION key_fence_holds();
CREATE TRIGGER key_fence_of_changed AFTER UPDATE ON kek REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION key_fence_holds();
CREATE TRIGGER key_fence_of_new AFTER INSERT ON batch_order REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION key_fence_holds();
CREATE TRIGGER key_fence_of_changed AFTER UPDATE ON batch_order REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION key_fence_holds();
CREATE TRIGGER key_fence_of_new AFTER INSERT ON claim_code REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION key_fence_holds();
CREATE TRIGGER key_fence_of_changed AFTER UPDATE ON claim_code REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION key_fence_holds();
