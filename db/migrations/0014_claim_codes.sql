-- Claim codes, as keyed hashes, and the name by which the world knows a batch.

CREATE TABLE claim_code (
    dev_eui bytea PRIMARY KEY REFERENCES device,
    generation integer NOT NULL CHECK (generation >= 1),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    weak boolean NOT NULL,
    origin text NOT NULL CHECK (origin IN ('given', 'made')),
    made_by bytea CHECK (octet_length(made_by) BETWEEN 16 AND 32),
    issued_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT claim_code_made_by_a_call CHECK ((origin = 'made') = (made_by IS NOT NULL))
);
COMMENT ON TABLE claim_code IS 'The present claim code of a device: whoever shows it may claim the device. The code itself is stored nowhere.';
COMMENT ON COLUMN claim_code.dev_eui IS 'Whose code it is; bound by the hash.';
COMMENT ON COLUMN claim_code.generation IS 'Grows by one whenever the code is made anew; bound by the hash.';
COMMENT ON COLUMN claim_code.hash IS 'HMAC-SHA-256, made in the HSM, over "claim-v1" | dev_eui | generation | code: without the HSM no guess can be tried, so weak codes cannot be found either.';
COMMENT ON COLUMN claim_code.weak IS 'Whether it was given with fewer than 64 bits: a claim by it deserves fewer tries.';
COMMENT ON COLUMN claim_code.origin IS 'given: by the file that brought the device, and printed already; made: here.';
COMMENT ON COLUMN claim_code.made_by IS 'Which call made it, as a hash of client and Idempotency-Key: the same call makes it anew, another one leaves it alone. Null for a given one.';
COMMENT ON COLUMN claim_code.issued_at IS 'When it became the code, by this database''s clock.';
GRANT SELECT, INSERT ON claim_code TO cradle_activation;
GRANT UPDATE (generation, hash, weak, origin, made_by, issued_at) ON claim_code TO cradle_activation;

ALTER TABLE batch
    ADD COLUMN public_id bytea NOT NULL UNIQUE DEFAULT decode(replace(gen_random_uuid()::text, '-', ''), 'hex')
        CHECK (octet_length(public_id) = 16);
COMMENT ON COLUMN batch.public_id IS 'The id that the world sees, 16 random bytes.';
COMMENT ON COLUMN batch.id IS 'Number inside this database; never shown outside, where public_id is.';
CREATE UNIQUE INDEX job_batch ON job (batch_id);

-- A batch is walked by its lines. Batches of before lines were kept are counted in the order of their DevEUIs.
UPDATE device d SET batch_line = n.line
    FROM (SELECT dev_eui, row_number() OVER (PARTITION BY batch_id ORDER BY dev_eui) AS line
        FROM device WHERE batch_id IS NOT NULL AND batch_line IS NULL) n
    WHERE d.dev_eui = n.dev_eui;
