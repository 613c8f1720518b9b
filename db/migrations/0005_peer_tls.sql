-- Who a peer is by certificate: its exact name, and its own trust anchor and revocation list.

ALTER TABLE peer
    ADD COLUMN san text UNIQUE CHECK (octet_length(san) BETWEEN 1 AND 255),
    ADD COLUMN trust_anchor text CHECK (octet_length(trust_anchor) BETWEEN 1 AND 65536),
    ADD COLUMN crl text CHECK (octet_length(crl) BETWEEN 1 AND 524288),
    ADD CHECK ((san IS NULL) = (trust_anchor IS NULL)),
    ADD CHECK (crl IS NULL OR san IS NOT NULL);
COMMENT ON COLUMN peer.san IS 'The DNS name, or URI when there is a colon in it, that its client certificate must hold to the byte; null: it has none.';
COMMENT ON COLUMN peer.trust_anchor IS 'PEM of the CA or CAs that may issue its certificate, and no other peer''s.';
COMMENT ON COLUMN peer.crl IS 'PEM of their revocation lists; null: none.';

GRANT UPDATE (san, trust_anchor, crl) ON peer TO cradle_activation;
