-- Connections.

-- name: given
-- Returns how many connections there may be: on the server, of this role, to this database (-1: any number). The server keeps
-- some for superusers.
SELECT
    current_setting('max_connections')::integer AS most,
    current_setting('superuser_reserved_connections')::integer
        + coalesce(current_setting('reserved_connections', true), '0')::integer AS reserved,
    r.rolconnlimit AS of_role,
    d.datconnlimit AS of_database
FROM pg_roles AS r
CROSS JOIN pg_database AS d
WHERE r.rolname = current_user AND d.datname = current_database();

-- name: notify
-- Sends a notification ($2) on a channel ($1).
SELECT pg_notify($1, $2);
