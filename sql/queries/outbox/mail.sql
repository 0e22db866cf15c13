-- What mails are made of. It is read when a mail is sent, so that none has what is deleted by then.

-- name: account
-- Returns the account that a mail is for, and what it wants to be told of new feedback; and the database's time.
SELECT u.username, u.email, u.email_verified_at IS NOT NULL AS is_verified,
    coalesce(n.mail, 'off') AS mail, coalesce(n.timezone, 'UTC') AS timezone, coalesce(n.told_cursor, 0) AS told_cursor,
    now() AS now
FROM users AS u
LEFT JOIN notifications AS n ON n.user_id = $1
WHERE u.id = $1;

-- name: open_verification
-- Finds which of these tokens ($2, hashed) verifies the address of an account.
SELECT v.token_hash
FROM email_verifications AS v
JOIN users AS u ON u.id = v.user_id AND u.email_key = v.email_key
WHERE v.user_id = $1 AND v.token_hash = ANY ($2::bytea[]) AND v.expires_at > now();

-- name: open_reset
-- Finds which of these tokens ($2, hashed) resets the password of an account.
SELECT r.token_hash
FROM password_resets AS r
JOIN users AS u ON u.id = r.user_id AND u.email_key = r.email_key
WHERE r.user_id = $1 AND r.token_hash = ANY ($2::bytea[]) AND r.expires_at > now();

-- name: feedback
-- Returns an item that is neither deleted nor read.
SELECT f.message, f.metadata::text AS metadata, f.created_at
FROM feedback AS f
WHERE f.user_id = $1 AND f.id = $2 AND f.deleted_at IS NULL AND NOT f.is_read;

-- name: digest
-- Lists what arrived after a cursor ($2) and before a time ($3), oldest first: at most $4 items, each with the number of all of
-- them and the last one's cursor.
SELECT f.message, f.metadata::text AS metadata, f.created_at,
    count(*) OVER () AS total, max(f.created_cursor) OVER () AS last_cursor
FROM feedback AS f
WHERE f.user_id = $1 AND f.cursor > $2 AND f.created_cursor > $2 AND f.created_at < $3 AND f.deleted_at IS NULL
ORDER BY f.created_cursor
LIMIT $4;

-- name: end_digest
-- Ends a digest ($2) that has told of everything up to a cursor ($3).
SELECT digest_end($1, $2, $3);

-- name: webhook
-- Returns a webhook that has been turned off.
SELECT w.url, w.disabled_reason
FROM webhooks AS w
WHERE w.user_id = $1 AND w.id = $2 AND NOT w.is_active;
