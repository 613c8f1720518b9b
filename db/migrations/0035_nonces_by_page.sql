-- A list of DevNonces goes to its pages in one statement.

-- A full list has 32 random DevNonces, which are on some 20 pages of 32: as many statements as DevNonces were most of what a join cost
-- PostgreSQL once devices had joined for a while. The trigger stays one of rows: what fires it is told by a condition that costs a join
-- nothing, while one of statements would have every row that a join changes kept twice, for the one list in 32 that is full.
CREATE AGGREGATE dev_nonce_bits(bigint, integer) (
    SFUNC = set_bit,
    STYPE = bytea,
    INITCOND = '\x00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000'
);
COMMENT ON AGGREGATE dev_nonce_bits(bigint, integer) IS 'dev_nonce_page.bits with these bits set, or not, and no others.';

-- There is no OR of bytea. What bit_send() gives has its length before it, in four bytes.
CREATE FUNCTION dev_nonce_bits_of_both(a bytea, b bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN substr(bit_send(('x' || encode(a, 'hex'))::bit(2048) | ('x' || encode(b, 'hex'))::bit(2048)), 5);
COMMENT ON FUNCTION dev_nonce_bits_of_both(bytea, bytea) IS 'What is set in either of two dev_nonce_page.bits.';

-- As in 0032, the row of the device is locked by the join that drops the list; so whatever the order of pages, nobody waits for one while
-- he has another.
CREATE OR REPLACE FUNCTION dev_nonces_to_pages() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
AS $$
BEGIN
    IF NOT NEW.has_pages THEN
        RAISE EXCEPTION 'device_join.has_pages is not set while DevNonces go to pages';
    END IF;
    INSERT INTO public.dev_nonce_page AS p (dev_eui, join_eui, nonce_epoch, page, newest, bits)
        SELECT OLD.dev_eui, OLD.recent_join_eui, OLD.nonce_epoch, nonce / 2048, min(nonce % 2048), public.dev_nonce_bits(nonce % 2048, 1)
        FROM (SELECT get_byte(OLD.recent_nonces, 2 * i) * 256 + get_byte(OLD.recent_nonces, 2 * i + 1) AS nonce
            FROM generate_series(0, octet_length(OLD.recent_nonces) / 2 - 1) i) l
        GROUP BY nonce / 2048
        ON CONFLICT (dev_eui, join_eui, nonce_epoch, page)
            DO UPDATE SET bits = public.dev_nonce_bits_of_both(p.bits, excluded.bits);
    RETURN NULL;
END
$$;
