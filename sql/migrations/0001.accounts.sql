-- People, their sessions and what they are billed for.
-- users and widgets are small and read by every inbox: reference tables, once there is more than one machine.

CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL,
    -- Case-folded by the application: lower() depends on the collation of the database, this does not.
    email_key text NOT NULL CONSTRAINT users_email_key UNIQUE,
    username text NOT NULL,
    hashed_password text NOT NULL,
    is_premium boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
    last_login timestamptz,
    profile_image text,
    email_verified_at timestamptz
);

-- Usernames are ASCII. "C" keeps lower() the same in every locale (in Turkish the lower case of I is not i).
CREATE UNIQUE INDEX users_username_key ON users (lower(username COLLATE "C"));

CREATE TABLE sessions (
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    user_agent text,
    PRIMARY KEY (user_id, id)
);

-- Tokens of other systems (billing): they belong to no user.
CREATE TABLE service_tokens (
    id uuid PRIMARY KEY,
    scope text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);

-- A reset token is kept as its SHA-256 alone, and used once.
CREATE TABLE password_resets (
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash bytea NOT NULL CONSTRAINT password_resets_token_key UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, token_hash)
);

-- Attempts counted in windows that begin with the first one; unlogged, since a crash may forget them.
CREATE UNLOGGED TABLE attempts (
    key text PRIMARY KEY,
    count integer NOT NULL,
    window_ends_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Counts one attempt under each key and answers, a key, how many the window has seen and the seconds it still lasts.
-- Keys are taken in order, so that two callers with the same keys never wait for each other in a circle.
CREATE FUNCTION attempts_count(p_keys text[], p_seconds integer[])
RETURNS TABLE (place integer, attempts integer, seconds_left double precision)
LANGUAGE sql
AS $$
    INSERT INTO attempts AS a (key, count, window_ends_at)
    SELECT k.key, 1, clock_timestamp() + make_interval(secs => k.seconds)
    FROM unnest(p_keys, p_seconds) AS k (key, seconds)
    ORDER BY k.key
    ON CONFLICT (key) DO UPDATE
    SET count = CASE WHEN a.window_ends_at <= clock_timestamp() THEN 1 ELSE least(a.count, 1000000) + 1 END,
        window_ends_at = CASE WHEN a.window_ends_at <= clock_timestamp() THEN excluded.window_ends_at ELSE a.window_ends_at END
    RETURNING array_position(p_keys, a.key), a.count, extract(epoch FROM a.window_ends_at - clock_timestamp())::double precision
$$;
