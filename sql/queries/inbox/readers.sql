-- Places of readers, leased by processes.

-- name: take
-- Leases one more place of a user ($1) to a process ($2), at most $3 over all processes. Returns whether it did.
SELECT readers_take($1, $2, $3) AS taken;

-- name: give_back
-- Ends leases of a process ($1): of each user ($2) so many places ($3). The next purge deletes rows that have no places left.
UPDATE reader_places AS r
SET places = greatest(r.places - b.places, 0)
FROM unnest($2::uuid[], $3::integer[]) AS b (user_id, places)
WHERE r.user_id = b.user_id AND r.process_id = $1;

-- name: beat
-- Notes that a process is alive, and returns whether the table did not have it yet.
INSERT INTO reader_processes AS p (id, seen_at)
VALUES ($1, now())
ON CONFLICT (id) DO UPDATE
SET seen_at = now()
RETURNING p.xmax = 0 AS is_new;

-- name: tell
-- Sets the leases of a process ($1): of each user ($2) so many places ($3).
INSERT INTO reader_places (user_id, process_id, places)
SELECT b.user_id, $1, b.places
FROM unnest($2::uuid[], $3::integer[]) AS b (user_id, places)
ON CONFLICT (user_id, process_id) DO UPDATE
SET places = excluded.places;

-- name: leave
-- Deletes a process and all its leases.
WITH leases AS (
    DELETE FROM reader_places
    WHERE process_id = $1
)
DELETE FROM reader_processes
WHERE id = $1;
