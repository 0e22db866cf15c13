-- Backing up and restoring.

-- name: tables
-- Lists those of these tables ($1) that exist, with their schema.
SELECT n.nspname AS schema_name, c.relname AS table_name
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relname = ANY ($1::text[])
ORDER BY c.relname;

-- name: begin_anew
-- Moves the cursor and the horizon of every inbox on by $1: after a restore the numbers of lost changes must not come again for
-- other changes, since clients may have those numbers as their cursors.
UPDATE inboxes
SET cursor = cursor + $1::bigint, horizon = cursor + $1::bigint;
