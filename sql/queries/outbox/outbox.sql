-- The outbox: lanes of jobs. A lane is named by its owner, its kind and its key.

-- name: claim
-- Leases lanes of a kind ($1) that are due, at most $2, by a lease ($3) of $4 seconds.
UPDATE lanes AS l
SET lease = $3::uuid, leased_until = now() + $4::double precision * interval '1 second'
FROM (
    SELECT d.user_id, d.key
    FROM lanes AS d
    WHERE d.kind = $1::text AND d.due <= now() AND (d.lease IS NULL OR d.leased_until < now())
    ORDER BY d.due
    LIMIT $2::integer
    FOR UPDATE SKIP LOCKED
) AS c
WHERE l.user_id = c.user_id AND l.kind = $1::text AND l.key = c.key
RETURNING l.user_id, l.key;

-- name: due
-- Lists lanes of a kind ($1) that are due, at most $2. To lease them in the same statement takes locks in many parts of the
-- tables, which Citus refuses.
SELECT d.user_id, d.key
FROM lanes AS d
WHERE d.kind = $1::text AND d.due <= now() AND (d.lease IS NULL OR d.leased_until < now())
ORDER BY d.due
LIMIT $2::integer;

-- name: lease
-- Leases a lane ($1 to $3) that is due, by a lease ($4) of $5 seconds. No row if somebody else has leased it meanwhile.
UPDATE lanes AS l
SET lease = $4::uuid, leased_until = now() + $5::double precision * interval '1 second'
WHERE l.user_id = $1
    AND l.kind = $2
    AND l.key = $3
    AND l.due <= now()
    AND (l.lease IS NULL OR l.leased_until < now())
RETURNING l.user_id, l.key;

-- name: begin
-- Begins the next job of a lane ($1 to $3) whose lease ($4) is still ours, and renews that for $5 seconds. The attempt counts
-- from here on, so that a job that kills its process does not come back for ever.
WITH held AS (
    UPDATE lanes AS l
    SET leased_until = now() + $5::double precision * interval '1 second'
    WHERE l.user_id = $1 AND l.kind = $2 AND l.key = $3 AND l.lease = $4
    RETURNING l.user_id
), next AS (
    SELECT n.id
    FROM jobs AS n
    WHERE n.user_id = $1 AND n.kind = $2 AND n.key = $3 AND n.due <= now()
    ORDER BY n.due, n.place
    LIMIT 1
)
UPDATE jobs AS j
SET attempts = j.attempts + 1
FROM held, next
WHERE j.user_id = $1 AND j.id = next.id
RETURNING j.user_id, j.key, j.id, j.payload::text AS payload, j.attempts, j.created_at;

-- name: finish
-- Removes a job that is done, or never will be.
DELETE FROM jobs AS j
WHERE j.user_id = $1 AND j.id = $2
RETURNING j.id;

-- name: defer
-- Has a job come again in $3 seconds; if $4 is true, as if it had not been tried.
UPDATE jobs AS j
SET due = now() + $3::double precision * interval '1 second', attempts = j.attempts - CASE WHEN $4::boolean THEN 1 ELSE 0 END
WHERE j.user_id = $1 AND j.id = $2
RETURNING j.id;

-- name: release
-- Ends a lease ($4) of a lane, which is left alone for $5 seconds. Tells whether its next job is due already.
SELECT lane_release($1, $2, $3, $4, $5) AS is_due;

-- name: renew
-- Renews what a process has leased ($1), for $2 seconds, and serves: $3 has the user, kind and key of each lane.
UPDATE lanes AS l
SET leased_until = now() + $2::double precision * interval '1 second'
WHERE l.lease = $1 AND (l.user_id::text || ' ' || l.kind || ' ' || l.key) = ANY ($3::text[]);

-- name: leave
-- Ends all that a process has leased ($1).
UPDATE lanes AS l
SET lease = NULL, leased_until = NULL
WHERE l.lease = $1;

-- name: state
-- Tells for each kind how many jobs wait (at most 100,000 are counted), and for how many seconds the oldest one that is due does.
SELECT j.kind, count(*) AS waiting,
    coalesce(extract(epoch FROM now() - min(j.due) FILTER (WHERE j.due <= now())), 0)::double precision AS oldest_seconds
FROM (SELECT a.kind, a.due FROM jobs AS a LIMIT 100000) AS j
GROUP BY j.kind;
