-- Accounts.

-- fragment: own
u.id, u.email, u.username, u.is_premium, u.created_at, u.last_login, u.profile_image,
u.email_verified_at IS NOT NULL AS email_verified

-- name: register
-- Makes an account, its inbox and its first session, and asks by mail (by a job, $10, with the hash of its token, $11) whether the
-- address is its own.
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
SELECT account.*
FROM account
CROSS JOIN LATERAL verification_ask(account.id, $3, $10, $11);

-- name: credentials
-- Finds the hash that a login has to match, by folded username ($1) or e-mail address ($2), and the highest cost of all hashes.
-- Always one row: its id is null if there is no such account, and the cost is null if there are no accounts at all.
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
-- Reads the hash that the current password of an account has to match, and the names that a new one may not be.
SELECT u.hashed_password, u.password_version, u.username, u.email
FROM users AS u
WHERE u.id = $1;

-- name: log_in
-- Opens a session ($3 to $5), notes the time, and stores the password's new hash ($6) if there is one. No row if the version
-- of the password that was checked ($2) is no longer the account's.
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
-- The account as its owner sees it, with the number of unread items.
SELECT {own}, i.unread_count
FROM users AS u
JOIN inboxes AS i ON i.user_id = $1
WHERE u.id = $1;

-- name: public
-- The account as anyone may see it.
SELECT u.username, u.profile_image, u.is_premium, u.created_at
FROM users AS u
WHERE lower(u.username COLLATE "C") = lower($1::text COLLATE "C");

-- name: update_profile
-- Changes the given fields: those of $2 to $4 that are not null, and the picture ($6) if $5 is true. Another e-mail address is set
-- only if the version of the password that was checked ($7) is still the account's, else no row; a job ($8, with the hash of its
-- token, $9) asks for it to be verified.
SELECT p.id, p.email, p.username, p.is_premium, p.created_at, p.last_login, p.profile_image, p.email_verified
FROM profile_update($1, $2, $3, $4, $5, $6, $7, $8, $9) AS p;

-- name: set_premium
-- Sets premium of an account, by its id ($1) or, if that is null, its name ($2).
UPDATE users AS u
SET is_premium = $3
WHERE u.id = coalesce($1::uuid, (SELECT n.id FROM users AS n WHERE lower(n.username COLLATE "C") = lower($2::text COLLATE "C")))
RETURNING {own};

-- name: change_password
-- Sets a password ($3) if the version of the one that was checked ($2) is still the account's, ends all sessions but one ($4),
-- and tells the account by mail. No row if it is not.
SELECT c.is_done, account_tell($1, 'password', NULL)
FROM password_change($1, $2, $3, $4) AS c (is_done)
WHERE c.is_done;

-- name: forget
-- Has a link mailed, by a job ($2) with the hash of its token ($3), that resets the password of the account with an e-mail
-- address ($1), if there is one.
SELECT password_forget($1, $2, $3);

-- name: offer_reset
-- Stores the hash of a password reset token for the account with a username.
INSERT INTO password_resets AS r (user_id, token_hash, expires_at, email_key)
SELECT u.id, $2, $3, u.email_key
FROM users AS u
WHERE lower(u.username COLLATE "C") = lower($1::text COLLATE "C")
RETURNING r.user_id;

-- name: find_reset
-- Finds the account of a reset token, if the token is valid.
SELECT u.id, u.username, u.email_key
FROM password_resets AS r
JOIN users AS u ON u.id = r.user_id AND u.email_key = r.email_key
WHERE r.token_hash = $1 AND r.expires_at > now();

-- name: use_reset
-- Uses a reset token once: sets the password, ends all sessions and reset tokens of the account, and tells it by mail. No row if
-- the token is not valid.
SELECT r.user_id, account_tell(r.user_id, 'password', NULL)
FROM password_reset($1, $2) AS r (user_id)
WHERE r.user_id IS NOT NULL;

-- name: ask_verification
-- Asks an account by mail (by a job, $2, with the hash of its token, $3) whether its address is its own, unless that is known.
SELECT verification_repeat($1, $2, $3);

-- name: verify
-- Uses a verification token once. No row if it is not valid.
SELECT v.id
FROM verification_use($1) AS v (id)
WHERE v.id IS NOT NULL;

-- name: delete
-- Deletes an account with everything that belongs to it, if the version of the password that was checked ($2) is still the
-- account's.
SELECT e.is_deleted
FROM account_end($1, $2) AS e (is_deleted)
WHERE e.is_deleted IS NOT NULL;
