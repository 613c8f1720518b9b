-- The tag key and the code key have versions, too: what they hashed says which (base/keyed.h, docs/keys.md).

-- Nothing that is there can break the new rules, which allow what the old ones did: so no row is looked at.
ALTER TABLE device_key
    DROP CONSTRAINT device_key_tag_check,
    ADD CONSTRAINT device_key_tag_check CHECK (octet_length(tag) = 32 OR
        (octet_length(tag) = 34 AND substring(tag FROM 33) BETWEEN '\x0002' AND '\x270f')) NOT VALID;
ALTER TABLE kek
    DROP CONSTRAINT kek_tag_check,
    ADD CONSTRAINT kek_tag_check CHECK (octet_length(tag) = 32 OR
        (octet_length(tag) = 34 AND substring(tag FROM 33) BETWEEN '\x0002' AND '\x270f')) NOT VALID;
ALTER TABLE batch_order
    DROP CONSTRAINT batch_order_transport_tag_check,
    ADD CONSTRAINT batch_order_transport_tag_check CHECK (octet_length(transport_tag) = 32 OR
        (octet_length(transport_tag) = 34 AND substring(transport_tag FROM 33) BETWEEN '\x0002' AND '\x270f')) NOT VALID,
    ADD COLUMN code_key smallint NOT NULL DEFAULT 1 CHECK (code_key BETWEEN 1 AND 9999);
ALTER TABLE claim_code
    DROP CONSTRAINT claim_code_hash_check,
    DROP CONSTRAINT claim_code_pac_hash_check,
    ADD CONSTRAINT claim_code_hash_check CHECK (octet_length(hash) = 32 OR
        (octet_length(hash) = 34 AND substring(hash FROM 33) BETWEEN '\x0002' AND '\x270f')) NOT VALID,
    ADD CONSTRAINT claim_code_pac_hash_check CHECK (octet_length(pac_hash) = 32 OR
        (octet_length(pac_hash) = 34 AND substring(pac_hash FROM 33) BETWEEN '\x0002' AND '\x270f')) NOT VALID;
COMMENT ON COLUMN device_key.tag IS 'HMAC-SHA-256, made in the HSM, over 1 | dev_eui | join_eui | slot | kek_label | blob. Behind its 32 bytes, where it is not of the first version of the tag key, that version in two bytes, big-endian.';
COMMENT ON COLUMN kek.tag IS 'HMAC-SHA-256, made in the HSM, over 2 | peer kind | peer id | class | label | kek_label | blob; its version as in device_key.tag.';
COMMENT ON COLUMN batch_order.transport_tag IS 'HMAC-SHA-256, made in the HSM, that binds it to organization and label (base/sealed.h); its version as in device_key.tag.';
COMMENT ON COLUMN batch_order.code_key IS 'Version of the code key that the key of its files comes of.';
COMMENT ON COLUMN claim_code.hash IS 'HMAC-SHA-256, made in the HSM, over "claim-v1" | dev_eui | generation | code: without the HSM no guess can be tried, so weak codes cannot be found either. Behind its 32 bytes, where it is not of the first version of the code key, that version in two bytes, big-endian.';
COMMENT ON COLUMN claim_code.pac_hash IS 'Of the last code that was its maker''s, the keyed hash, as `hash`.';
GRANT UPDATE (code_key) ON batch_order TO cradle_activation;

-- A walk that has ended need not begin anew because its name has two words more.
UPDATE key_rewrap SET target = target || ' tag.1 code.1';
COMMENT ON COLUMN key_rewrap.target IS 'Labels of the storage KEKs that seal device keys and peers'' KEKs, of the tag key that makes tags, and of the code key that hashes new codes, with a space between.';

ALTER TABLE key_rewrap ADD COLUMN n_idle integer NOT NULL DEFAULT 0 CHECK (n_idle >= 0);
COMMENT ON COLUMN key_rewrap.n_idle IS 'Passes in a row that changed nothing: the pause after each is twice as long.';
GRANT UPDATE (n_idle) ON key_rewrap TO cradle_activation;
