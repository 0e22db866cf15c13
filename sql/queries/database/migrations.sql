-- Migrations.

-- name: applied
-- Lists the migrations that have been applied.
SELECT m.migration_id
FROM _yoyo_migration AS m;
