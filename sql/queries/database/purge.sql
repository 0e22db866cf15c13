-- Deletes rows that are no longer needed, in small batches ($1 rows), by one process at a time: each statement tries to take a
-- lock, which ends with it, and deletes nothing if another process has the lock.

-- fragment: turn
WITH turn AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(112685394489712) AS is_mine
)

-- fragment: unlocked
FOR UPDATE SKIP LOCKED

-- spread: unlocked
-- Citus takes such a lock in one part of a table alone.

-- name: tombstones
-- Deletions of seven days ago: the horizon of their inboxes moves up to them. An inbox that is locked is left out; is_held_up
-- tells that all were.
{turn}
SELECT p.purged, p.is_held_up
FROM purge_tombstones(CASE WHEN (SELECT t.is_mine FROM turn AS t) THEN $1::integer ELSE 0 END) AS p;

-- name: idempotency_keys
-- Keys of more than a day ago.
{turn}, gone AS (
    DELETE FROM idempotency AS k
    USING (
        SELECT o.user_id, o.key
        FROM idempotency AS o
        WHERE o.created_at < now() - interval '24 hours' AND (SELECT t.is_mine FROM turn AS t)
        LIMIT $1::integer
        {unlocked}
    ) AS d
    WHERE k.user_id = d.user_id AND k.key = d.key
    RETURNING 1
)
SELECT count(*)::integer AS purged FROM gone;

-- name: sessions
-- Sessions that expired more than a day ago.
{turn}, gone AS (
    DELETE FROM sessions AS s
    USING (
        SELECT o.user_id, o.id
        FROM sessions AS o
        WHERE o.expires_at < now() - interval '24 hours' AND (SELECT t.is_mine FROM turn AS t)
        LIMIT $1::integer
    ) AS d
    WHERE s.user_id = d.user_id AND s.id = d.id
    RETURNING 1
)
SELECT count(*)::integer AS purged FROM gone;

-- name: password_resets
-- Reset tokens that expired unused.
{turn}, gone AS (
    DELETE FROM password_resets AS r
    USING (
        SELECT o.user_id, o.token_hash
        FROM password_resets AS o
        WHERE o.expires_at < now() AND (SELECT t.is_mine FROM turn AS t)
        LIMIT $1::integer
    ) AS d
    WHERE r.user_id = d.user_id AND r.token_hash = d.token_hash
    RETURNING 1
)
SELECT count(*)::integer AS purged FROM gone;

-- name: email_verifications
-- Verification tokens that expired unused.
{turn}, gone AS (
    DELETE FROM email_verifications AS v
    USING (
        SELECT o.user_id, o.token_hash
        FROM email_verifications AS o
        WHERE o.expires_at < now() AND (SELECT t.is_mine FROM turn AS t)
        LIMIT $1::integer
    ) AS d
    WHERE v.user_id = d.user_id AND v.token_hash = d.token_hash
    RETURNING 1
)
SELECT count(*)::integer AS purged FROM gone;

-- name: attempts
-- Windows of attempts that have ended.
{turn}, gone AS (
    DELETE FROM attempts AS a
    USING (
        SELECT o.key
        FROM attempts AS o
        WHERE o.window_ends_at < now() AND (SELECT t.is_mine FROM turn AS t)
        LIMIT $1::integer
        FOR UPDATE SKIP LOCKED
    ) AS d
    WHERE a.key = d.key
    RETURNING 1
)
SELECT count(*)::integer AS purged FROM gone;

-- name: reader_processes
-- Processes that have not been seen for an hour, with the places that they had leased.
{turn}, gone AS (
    DELETE FROM reader_processes AS p
    USING (
        SELECT o.id
        FROM reader_processes AS o
        WHERE o.seen_at < now() - interval '1 hour' AND (SELECT t.is_mine FROM turn AS t)
        LIMIT $1::integer
        FOR UPDATE SKIP LOCKED
    ) AS d
    WHERE p.id = d.id
    RETURNING p.id
), places AS (
    DELETE FROM reader_places AS r
    USING gone AS g
    WHERE r.process_id = g.id
)
SELECT count(*)::integer AS purged FROM gone;

-- name: reader_places
-- Leases that have no places any more.
{turn}, gone AS (
    DELETE FROM reader_places AS r
    USING (
        SELECT o.user_id, o.process_id
        FROM reader_places AS o
        WHERE o.places = 0 AND (SELECT t.is_mine FROM turn AS t)
        LIMIT $1::integer
        FOR UPDATE SKIP LOCKED
    ) AS d
    WHERE r.user_id = d.user_id AND r.process_id = d.process_id
    RETURNING 1
)
SELECT count(*)::integer AS purged FROM gone;

-- name: deliveries
-- Deliveries of thirty days ago.
{turn}, gone AS (
    DELETE FROM deliveries AS v
    USING (
        SELECT o.user_id, o.webhook_id, o.id
        FROM deliveries AS o
        WHERE o.created_at < now() - interval '30 days' AND (SELECT t.is_mine FROM turn AS t)
        LIMIT $1::integer
        {unlocked}
    ) AS d
    WHERE v.user_id = d.user_id AND v.webhook_id = d.webhook_id AND v.id = d.id
    RETURNING 1
)
SELECT count(*)::integer AS purged FROM gone;

-- name: many_deliveries
-- Of each webhook all but the last $2 deliveries; what waits to be sent stays.
{turn}, gone AS (
    DELETE FROM deliveries AS v
    USING (
        SELECT o.user_id, o.webhook_id, o.id
        FROM webhooks AS w
        CROSS JOIN LATERAL (
            SELECT n.id
            FROM deliveries AS n
            WHERE n.user_id = w.user_id AND n.webhook_id = w.id
            ORDER BY n.id DESC
            OFFSET $2::integer
            LIMIT 1
        ) AS l
        JOIN deliveries AS o ON o.user_id = w.user_id AND o.webhook_id = w.id AND o.id <= l.id AND o.next_attempt_at IS NULL
        WHERE (SELECT t.is_mine FROM turn AS t)
        LIMIT $1::integer
    ) AS d
    WHERE v.user_id = d.user_id AND v.webhook_id = d.webhook_id AND v.id = d.id
    RETURNING 1
)
SELECT count(*)::integer AS purged FROM gone;
