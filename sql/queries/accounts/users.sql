-- Accounts.

-- fragment: own
u.id, u.email, u.username, u.is_premium, u.created_at, u.last_login, u.profile_image,
u.email_verified_at IS NOT NULL AS email_verified

-- name: register
-- Makes an account, its inbox and its first session.
WITH account AS (
    INSERT INTO users AS u (id, email, email_key, username, hashed_password, profile_image)
    VALUES ($1, $2, $3, $4, $5, $6)
    RETURNING {own}
), inbox AS (
    INSERT INTO inboxes (user_id)
    SELECT id FROM account
), session AS (
    INSERT INTO sessions (user_id, id, expires_at, user_agent)
    SELECT id, $7::uuid, $8::timestamptz, $9::text FROM account
)
SELECT account.* FROM account;

-- name: credentials
-- Finds what a login has to match, by folded username ($1) or e-mail address ($2), and the highest cost of all hashes.
-- Always one row: its id is null where nobody has that name, and the cost where there is no account at all.
SELECT u.id, u.hashed_password, u.password_version, c.highest_cost
FROM (
    SELECT max(substring(a.hashed_password COLLATE "C" FROM '^\$2.\$([0-9]{2})\$'))::integer AS highest_cost
    FROM users AS a
) AS c
LEFT JOIN (
    SELECT n.id, n.hashed_password, n.password_version
    FROM users AS n
    WHERE lower(n.username COLLATE "C") = $1::text
    UNION ALL
    SELECT e.id, e.hashed_password, e.password_version
    FROM users AS e
    WHERE e.email_key = $2::text
) AS u ON true;

-- name: hashed_password
-- Reads what the current password of an account has to match.
SELECT u.hashed_password, u.password_version, u.username, u.email, u.email_key
FROM users AS u
WHERE u.id = $1;

-- name: log_in
-- Opens a session ($3 to $5), notes the time, and keeps the password's new hash ($6) if there is one; no row where the
-- password that was checked ($2) no longer holds.
WITH account AS (
    UPDATE users AS u
    SET last_login = date_trunc('milliseconds', now()), hashed_password = coalesce($6, u.hashed_password)
    WHERE u.id = $1 AND u.password_version = $2
    RETURNING {own}
), session AS (
    INSERT INTO sessions (user_id, id, expires_at, user_agent)
    SELECT id, $3::uuid, $4::timestamptz, $5::text FROM account
)
SELECT account.* FROM account;

-- name: own
-- The account as its owner sees it.
SELECT {own}
FROM users AS u
WHERE u.id = $1;

-- name: me
-- The account as its owner sees it, with what waits in the inbox.
SELECT {own}, i.unread_count
FROM users AS u
JOIN inboxes AS i ON i.user_id = u.id
WHERE u.id = $1;

-- name: public
-- The account as anyone may see it.
SELECT u.username, u.profile_image, u.is_premium, u.created_at
FROM users AS u
WHERE lower(u.username COLLATE "C") = lower($1::text COLLATE "C");

-- name: update_profile
-- Changes what is given ($2 to $4 not null, $5 says whether the picture $6 is). Another e-mail address is not verified, and
-- takes that the password that was checked ($7) still holds: else no row.
UPDATE users AS u
SET email = coalesce($2, u.email),
    email_key = coalesce($3, u.email_key),
    email_verified_at = CASE WHEN coalesce($3, u.email_key) = u.email_key THEN u.email_verified_at END,
    username = coalesce($4, u.username),
    profile_image = CASE WHEN $5::boolean THEN $6 ELSE u.profile_image END
WHERE u.id = $1 AND (coalesce($3, u.email_key) = u.email_key OR u.password_version = $7::integer)
RETURNING {own};

-- name: set_premium
-- Puts an account, by its id or else its name, on or off premium.
UPDATE users AS u
SET is_premium = $3
WHERE u.id = coalesce($1::uuid, (SELECT n.id FROM users AS n WHERE lower(n.username COLLATE "C") = lower($2::text COLLATE "C")))
RETURNING {own};

-- name: change_password
-- Sets a password ($3) if the one that was checked ($2) still holds, and ends all sessions but one ($4).
SELECT c.is_done
FROM password_change($1, $2, $3, $4) AS c (is_done)
WHERE c.is_done;

-- name: offer_reset
-- Keeps the hash of a password reset token for the account of a name.
INSERT INTO password_resets (user_id, token_hash, expires_at, email_key)
SELECT u.id, $2, $3, u.email_key
FROM users AS u
WHERE lower(u.username COLLATE "C") = lower($1::text COLLATE "C")
RETURNING user_id;

-- name: find_reset
-- Finds whose password a reset token may change.
SELECT u.id, u.username, u.email_key
FROM password_resets AS r
JOIN users AS u ON u.id = r.user_id AND u.email_key = r.email_key
WHERE r.token_hash = $1 AND r.expires_at > now();

-- name: use_reset
-- Uses a reset token once: sets the password, ends all sessions and every other reset of the account.
SELECT r.user_id
FROM password_reset($1, $2) AS r (user_id)
WHERE r.user_id IS NOT NULL;

-- name: delete
-- Deletes an account with all that is its own, if the password that was checked ($2) still holds.
WITH account AS MATERIALIZED (
    SELECT u.id
    FROM users AS u
    WHERE u.id = $1 AND u.password_version = $2
    FOR UPDATE
)
SELECT account_delete(a.id) AS deleted FROM account AS a;
