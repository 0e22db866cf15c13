-- Operations.

-- name: applied_migrations
-- Lists what has been migrated.
SELECT m.migration_id
FROM _yoyo_migration AS m;
