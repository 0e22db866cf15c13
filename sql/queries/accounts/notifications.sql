-- What owners are told by mail when feedback arrives.

-- name: show
-- Returns what an owner wants to be told, by default nothing.
SELECT coalesce(n.mail, 'off') AS mail, coalesce(n.timezone, 'UTC') AS timezone
FROM users AS u
LEFT JOIN notifications AS n ON n.user_id = $1
WHERE u.id = $1;

-- name: set
-- Sets what an owner wants to be told; null leaves a value as it is. No row if there is no such account.
SELECT n.mail, n.timezone
FROM notifications_set($1, $2, $3) AS n;

-- name: turn_off
-- Turns mails of new feedback off, for an account that has turned them on.
SELECT notifications_off($1);
