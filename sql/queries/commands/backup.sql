-- Backing up and restoring.

-- name: tables
-- Lists which of these tables ($1) there are, with their schema.
SELECT n.nspname AS schema_name, c.relname AS table_name
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relname = ANY ($1::text[])
ORDER BY c.relname;

-- name: begin_anew
-- Moves every inbox far on, its horizon too: no cursor from before the restore is taken for one of now, though the same
-- numbers would come again and stand for other changes.
UPDATE inboxes
SET cursor = cursor + $1::bigint, horizon = cursor + $1::bigint;
