-- Attempts, which are counted over all processes.

-- name: count
-- Counts one attempt under each key ($1) in a window of so many seconds ($2).
SELECT c.place, c.attempts, c.seconds_left
FROM attempts_count($1, $2) AS c;
