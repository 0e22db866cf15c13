-- depends: 0003.widgets
-- What a password has opened ends with it.

-- Tells one password of an account from the next: the hash of the same password may be renewed.
ALTER TABLE users ADD COLUMN password_version integer NOT NULL DEFAULT 0;

-- A reset token is for the address that it was sent to, and good no longer than the account has it.
ALTER TABLE password_resets ADD COLUMN email_key text NOT NULL DEFAULT '';

-- The two digits of a hash's cost ($2b$12$...): the highest of all is one look-up, at every login.
CREATE INDEX users_cost_key ON users (substring(hashed_password COLLATE "C" FROM '^\$2.\$([0-9]{2})\$'));

-- Sets a password if the one that was checked, by its version, still holds, and ends all sessions but p_session_id (null:
-- none is spared). False where it does not hold, or there is no such account.
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
    -- A statement of its own sees what was committed while the one before waited for the lock on the account: every session
    -- of a login that had the lock first. A login that gets it later finds another version.
    UPDATE sessions AS s
    SET revoked_at = now()
    WHERE s.user_id = p_user_id AND s.id IS DISTINCT FROM p_session_id AND s.revoked_at IS NULL;
    -- A reset token is for the password that was forgotten: it goes with it.
    DELETE FROM password_resets AS r
    WHERE r.user_id = p_user_id;
    PERFORM pg_notify('fw_session', p_user_id::text);
    RETURN true;
END
$$;

-- Uses a reset token once: sets the password, and ends all sessions. Answers whose it was, or null where it is no longer good.
CREATE FUNCTION password_reset(p_token_hash bytea, p_hashed_password text)
RETURNS uuid
LANGUAGE plpgsql
AS $$
DECLARE
    v_user_id uuid;
    v_password_version integer;
    v_email_key text;
BEGIN
    -- The lock on the account comes first, as it does where the password is changed: nobody waits in a circle.
    SELECT u.id, u.password_version, u.email_key INTO v_user_id, v_password_version, v_email_key
    FROM users AS u
    WHERE u.id = (SELECT r.user_id FROM password_resets AS r WHERE r.token_hash = p_token_hash)
    FOR NO KEY UPDATE;
    -- From here on it shows whether somebody else has used the token, or ended it.
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
