-- depends: 0003.widgets
-- When a password is replaced, the sessions and reset tokens that belong to it end.

-- Counts the passwords of an account. A new hash of the same password has the same version.
ALTER TABLE users ADD COLUMN password_version integer NOT NULL DEFAULT 0;

-- The address that the reset token was made for: the token is not valid once the account has another one.
ALTER TABLE password_resets ADD COLUMN email_key text NOT NULL DEFAULT '';

-- The two digits of a hash's cost ($2b$12$...): every login looks up the highest cost of all hashes.
CREATE INDEX users_cost_key ON users (substring(hashed_password COLLATE "C" FROM '^\$2.\$([0-9]{2})\$'));

-- Sets a password if p_password_version, that of the password that was checked, is still the account's, and ends all sessions
-- but p_session_id (null: all). Returns false if the version is another one, or there is no such account.
CREATE FUNCTION password_change(p_user_id uuid, p_password_version integer, p_hashed_password text, p_session_id uuid)
RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    UPDATE users AS u
    SET hashed_password = p_hashed_password, password_version = u.password_version + 1
    WHERE u.id = p_user_id AND u.password_version = p_password_version;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- This is a separate statement so that it sees what was committed while the first one waited for the lock on the account:
    -- the sessions of logins that had the lock before. A login that gets the lock later finds another version.
    UPDATE sessions AS s
    SET revoked_at = now()
    WHERE s.user_id = p_user_id AND s.id IS DISTINCT FROM p_session_id AND s.revoked_at IS NULL;
    -- A reset token replaces one password: it ends when that is replaced in any way.
    DELETE FROM password_resets AS r
    WHERE r.user_id = p_user_id;
    PERFORM pg_notify('fw_session', p_user_id::text);
    RETURN true;
END
$$;

-- Uses a reset token once: sets the password, and ends all sessions. Returns the id of its user, or null if it is not valid.
CREATE FUNCTION password_reset(p_token_hash bytea, p_hashed_password text)
RETURNS uuid
LANGUAGE plpgsql
AS $$
DECLARE
    v_user_id uuid;
    v_password_version integer;
    v_email_key text;
BEGIN
    -- The lock on the account is taken first, as in password_change, so the two never end in a deadlock.
    SELECT u.id, u.password_version, u.email_key INTO v_user_id, v_password_version, v_email_key
    FROM users AS u
    WHERE u.id = (SELECT r.user_id FROM password_resets AS r WHERE r.token_hash = p_token_hash)
    FOR NO KEY UPDATE;
    -- Under the lock: another call may have used the token, or ended it.
    IF NOT EXISTS (
        SELECT FROM password_resets AS r
        WHERE r.token_hash = p_token_hash AND r.email_key = v_email_key AND r.expires_at > now()
    ) THEN
        RETURN NULL;
    END IF;
    PERFORM password_change(v_user_id, v_password_version, p_hashed_password, NULL);
    RETURN v_user_id;
END
$$;
