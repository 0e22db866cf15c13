-- Attempts that are counted over all processes.

-- name: count
-- Counts one attempt under each key, with its window in seconds.
SELECT c.place, c.attempts, c.seconds_left
FROM attempts_count($1, $2) AS c;
