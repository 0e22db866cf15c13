-- What `fw doctor` asks of the database.

-- name: server
-- Returns the version, the encoding and the state of the server.
SELECT
    current_setting('server_version') AS version,
    current_setting('server_version_num')::integer AS version_number,
    current_setting('server_encoding') AS encoding,
    pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS is_read_only;

-- name: clock
-- Returns the time of the database's machine.
SELECT clock_timestamp() AS now;

-- name: outbox
-- Returns how many jobs of the outbox are due (at most 100,000 are counted), and for how many seconds the oldest one is.
SELECT count(*) AS due, coalesce(extract(epoch FROM now() - min(j.due)), 0)::double precision AS oldest_seconds
FROM (SELECT a.due FROM jobs AS a WHERE a.due <= now() LIMIT 100000) AS j;
