-- Webhooks and their deliveries.

-- fragment: webhook
w.id, w.url, w.events, w.description, w.is_active, w.created_at, w.failing_since, w.disabled_reason

-- name: list
-- A page of an owner's webhooks, newest first; their ids are below $2.
SELECT {webhook}
FROM webhooks AS w
WHERE w.user_id = $1 AND w.id < $2
ORDER BY w.id DESC
LIMIT $3;

-- name: create
-- Makes a webhook, unless its owner has $8 of them: then no row.
SELECT {webhook}, w.secret
FROM webhook_create($1, $2, $3, $4, $5, $6, $7, $8) AS w;

-- name: one
-- A webhook, for its owner.
SELECT {webhook}
FROM webhooks AS w
WHERE w.user_id = $1 AND w.id = $2;

-- name: update
-- Changes the given fields; the description if $5 is true.
SELECT {webhook}
FROM webhook_update($1, $2, $3, $4, $5, $6, $7) AS w;

-- name: delete
-- Deletes a webhook with its deliveries and what waits to be sent.
SELECT webhook_delete($1, $2) AS deleted;

-- name: rotate_secret
-- Sets a new secret ($3); the one before signs too for $4 seconds.
UPDATE webhooks AS w
SET secret = $3, old_secret = w.secret, old_secret_until = now() + $4::integer * interval '1 second'
WHERE w.user_id = $1 AND w.id = $2
RETURNING w.secret;

-- name: ping
-- Writes a delivery of the type ping.
SELECT webhook_ping($1, $2) AS pinged;

-- name: deliveries
-- A page of a webhook's deliveries, newest first; their ids are below $3.
SELECT d.id, d.type, d.feedback_id, d.created_at, d.attempts, d.next_attempt_at, d.delivered_at, d.status_code, d.error
FROM deliveries AS d
WHERE d.user_id = $1 AND d.webhook_id = $2 AND d.id < $3
ORDER BY d.id DESC
LIMIT $4;

-- name: resend
-- Queues one delivery ($3) once more, or those since $4 that failed; $5 is an id below theirs, and $6 how many at most.
SELECT webhook_resend($1, $2, $3, $4, $5, $6) AS queued;

-- name: to_send
-- All that a delivery ($3) of a webhook ($2) is made of: the webhook, the delivery, and its feedback as it is now, with nulls if
-- that is deleted.
SELECT w.url, w.is_active, w.secret, CASE WHEN w.old_secret_until > now() THEN w.old_secret END AS old_secret,
    d.type, d.created_at AS happened_at, d.feedback_id, {feedback.feedback}
FROM webhooks AS w
JOIN deliveries AS d ON d.user_id = w.user_id AND d.webhook_id = w.id
LEFT JOIN feedback AS f ON f.user_id = d.user_id AND f.id = d.feedback_id AND f.deleted_at IS NULL
WHERE w.user_id = $1 AND w.id = $2 AND d.id = $3;

-- name: delivered
-- Notes that a delivery was answered with $4, and removes its job in the same moment: a process that is killed after this does
-- not have it sent again.
WITH noted AS (
    UPDATE deliveries AS d
    SET attempts = d.attempts + 1, delivered_at = now(), next_attempt_at = NULL, status_code = $4, error = NULL
    WHERE d.user_id = $1 AND d.webhook_id = $2 AND d.id = $3
), well AS (
    UPDATE webhooks AS w
    SET failing_since = NULL
    WHERE w.user_id = $1 AND w.id = $2 AND w.failing_since IS NOT NULL
    RETURNING w.id
)
DELETE FROM jobs AS j
-- The webhook is locked first, as by whoever turns it off.
WHERE j.user_id = $1 AND j.id = $3 AND (SELECT count(*) FROM well) >= 0
RETURNING j.id;

-- name: failed
-- Notes that an attempt failed, with the status of the answer ($4) and the reason ($5), and that the next is in $6 seconds, or
-- never if that is null. If $7 is true it is a sign that the webhook is failing: since when is returned.
WITH noted AS (
    UPDATE deliveries AS d
    SET attempts = d.attempts + 1, status_code = $4, error = $5,
        next_attempt_at = now() + $6::double precision * interval '1 second'
    WHERE d.user_id = $1 AND d.webhook_id = $2 AND d.id = $3
)
UPDATE webhooks AS w
-- Citus takes no functions of the moment within coalesce, nor in what is returned.
SET failing_since = coalesce(w.failing_since, t.moment)
FROM (SELECT now() AS moment) AS t
WHERE w.user_id = $1 AND w.id = $2 AND $7::boolean
RETURNING extract(epoch FROM t.moment - w.failing_since)::double precision AS failing_seconds;

-- name: ended
-- Notes that a delivery is not sent, and why ($4).
UPDATE deliveries AS d
SET next_attempt_at = NULL, error = $4
WHERE d.user_id = $1 AND d.webhook_id = $2 AND d.id = $3
RETURNING d.id;

-- name: turn_off
-- Turns a webhook off, with the reason, and has its owner told.
SELECT webhook_turn_off($1, $2, $3) AS turned_off;
