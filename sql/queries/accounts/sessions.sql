-- Sessions and tokens: a token is valid for as long as its row says.

-- name: is_live
-- Returns a row if a session is neither expired nor revoked. The row of a session is deleted with its user.
SELECT true AS is_live
FROM sessions AS s
WHERE s.user_id = $1 AND s.id = $2 AND s.revoked_at IS NULL AND s.expires_at > now();

-- name: live_of
-- Returns those of these sessions ($2, of the users $1) that have not ended.
SELECT s.id
FROM sessions AS s
JOIN unnest($1::uuid[], $2::uuid[]) AS w (user_id, id) ON s.user_id = w.user_id AND s.id = w.id
WHERE s.revoked_at IS NULL AND s.expires_at > now();

-- name: revoke
-- Ends one session, and sends the hint that a session of the user has ended.
WITH ended AS (
    UPDATE sessions
    SET revoked_at = now()
    WHERE user_id = $1 AND id = $2 AND revoked_at IS NULL
    RETURNING user_id, id
)
SELECT e.id, pg_notify('fw_session', e.user_id::text) AS hint
FROM ended AS e;

-- name: revoke_others
-- Ends all sessions of a user but one ($2), and sends the hint that a session of the user has ended.
WITH ended AS (
    UPDATE sessions
    SET revoked_at = now()
    WHERE user_id = $1 AND id <> $2 AND revoked_at IS NULL
    RETURNING user_id
)
SELECT e.user_id, pg_notify('fw_session', e.user_id::text) AS hint
FROM ended AS e
LIMIT 1;

-- name: is_service_live
-- Returns a row if the token of another system is neither expired nor revoked.
SELECT true AS is_live
FROM service_tokens AS t
WHERE t.id = $1 AND t.scope = $2 AND t.revoked_at IS NULL AND t.expires_at > now();

-- name: open_service
-- Stores the token of another system, so that it can be revoked.
INSERT INTO service_tokens (id, scope, expires_at)
VALUES ($1, $2, $3)
RETURNING id;

-- name: list_services
-- Lists the tokens of other systems, newest first.
SELECT t.id, t.scope, t.created_at, t.expires_at, t.revoked_at
FROM service_tokens AS t
ORDER BY t.id DESC;

-- name: revoke_service
-- Ends the token of another system.
UPDATE service_tokens
SET revoked_at = coalesce(revoked_at, now())
WHERE id = $1
RETURNING id;
