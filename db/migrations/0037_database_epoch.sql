-- A database that was set back is noticed, and an epoch bump leaves a gap in every JoinNonce.

-- One row. What a device still lacks of join_nonce_total is added to its next JoinNonce, and to device_join.join_nonce_gap with it: a bump
-- is this row alone, however many devices there are.
CREATE TABLE database_epoch (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    epoch integer NOT NULL DEFAULT 0 CHECK (epoch >= 0),
    mark uuid NOT NULL DEFAULT gen_random_uuid(),
    join_nonce_total integer NOT NULL DEFAULT 0 CHECK (join_nonce_total BETWEEN 0 AND 16777215),
    system_identifier bigint NOT NULL,
    timeline integer NOT NULL,
    table_oid bigint NOT NULL,
    bumped_at timestamptz
);
COMMENT ON TABLE database_epoch IS 'Which database cluster and timeline an operator has vouched for, and the gap in JoinNonces since. One row.';
COMMENT ON COLUMN database_epoch.only_one IS 'There is one row.';
COMMENT ON COLUMN database_epoch.epoch IS 'How many epoch bumps this database has seen.';
COMMENT ON COLUMN database_epoch.mark IS 'Drawn by each bump: tells two bumps of the same backup from each other.';
COMMENT ON COLUMN database_epoch.join_nonce_total IS 'Sum of the gaps of all bumps, and at least what a witness of a service has seen.';
COMMENT ON COLUMN database_epoch.system_identifier IS 'Of the cluster (pg_control_system), at the last bump or the first migration.';
COMMENT ON COLUMN database_epoch.timeline IS 'Of its WAL, at the last bump or at a failover that was taken as synchronous.';
COMMENT ON COLUMN database_epoch.table_oid IS 'Object id of this table, at the last bump or the first migration: a restored dump has another, also in the same cluster.';
COMMENT ON COLUMN database_epoch.bumped_at IS 'When it was bumped last; null: never.';

-- A constant default: no row is written.
ALTER TABLE device_join ADD COLUMN join_nonce_gap integer NOT NULL DEFAULT 0;
ALTER TABLE device_join ADD CONSTRAINT device_join_join_nonce_gap_check CHECK (join_nonce_gap >= 0) NOT VALID;
COMMENT ON COLUMN device_join.join_nonce_gap IS 'How much of database_epoch.join_nonce_total is in join_nonce already. 0 of a new device: one that is imported again after a restore begins above what it may have had.';

-- Of this very moment: pg_control_checkpoint tells the timeline of the last checkpoint, which lags behind a promotion. Fails on a standby.
CREATE FUNCTION database_timeline() RETURNS integer
LANGUAGE sql VOLATILE
RETURN ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer;
COMMENT ON FUNCTION database_timeline() IS 'The timeline that WAL is written on now.';

INSERT INTO database_epoch (system_identifier, timeline, table_oid)
    SELECT c.system_identifier, database_timeline(), 'database_epoch'::regclass::oid::bigint FROM pg_control_system() c;

-- With the owner's rights, and of no use but this: a timeline that went on in the same cluster becomes the one vouched for.
CREATE FUNCTION database_take_timeline() RETURNS integer
LANGUAGE sql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
    UPDATE database_epoch SET timeline = database_timeline()
        WHERE timeline < database_timeline() AND system_identifier = (SELECT c.system_identifier FROM pg_control_system() c)
            AND current_setting('synchronous_standby_names') <> '';
    SELECT timeline FROM database_epoch;
END;
COMMENT ON FUNCTION database_take_timeline() IS 'For services whose operator says that failovers are synchronous: takes the present timeline, if it is a later one of the same cluster and commits wait for a standby. Returns the timeline that is vouched for.';

GRANT SELECT ON database_epoch TO cradle_join, cradle_activation;
GRANT EXECUTE ON FUNCTION database_timeline(), database_take_timeline() TO cradle_join, cradle_activation;
GRANT UPDATE (join_nonce_gap) ON device_join TO cradle_join;
GRANT SELECT (join_nonce_gap) ON device_join TO cradle_activation;
