-- Migrations.

-- name: applied
-- Lists what has been migrated.
SELECT m.migration_id
FROM _yoyo_migration AS m;
