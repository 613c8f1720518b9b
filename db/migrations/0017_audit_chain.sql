-- Holds the place of the migration of this number, which comes with the chain of audit events.
DO $$ BEGIN END $$;
