-- Holds the number until the migration that it belongs to is here.
SELECT 1;
