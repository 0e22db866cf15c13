-- The schema that all migrations together make, as one text to read. A test checks that it is the same.

-- Users, their sessions and tokens.
-- users and widgets are small, and read for every inbox: if the data is ever spread over machines, each gets a copy of them.

CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL,
    -- Case-folded by the application, since lower() depends on the collation of the database.
    email_key text NOT NULL CONSTRAINT users_email_key UNIQUE,
    username text NOT NULL,
    hashed_password text NOT NULL,
    is_premium boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT date_trunc('milliseconds', now()),
    last_login timestamptz,
    profile_image text,
    email_verified_at timestamptz,
    -- Counts the passwords of an account. A new hash of the same password has the same version.
    password_version integer NOT NULL DEFAULT 0
);

-- Usernames are ASCII. "C" keeps lower() the same in every locale (in Turkish the lower case of I is not i).
CREATE UNIQUE INDEX users_username_key ON users (lower(username COLLATE "C"));

-- The two digits of a hash's cost ($2b$12$...): every login looks up the highest cost of all hashes.
CREATE INDEX users_cost_key ON users (substring(hashed_password COLLATE "C" FROM '^\$2.\$([0-9]{2})\$'));

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

-- Reset tokens, of which only the SHA-256 is stored. Each can be used once.
CREATE TABLE password_resets (
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    token_hash bytea NOT NULL CONSTRAINT password_resets_token_key UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    -- The address that the token was made for: the token is not valid once the account has another one.
    email_key text NOT NULL DEFAULT '',
    PRIMARY KEY (user_id, token_hash)
);

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

-- Attempts counted in windows of time that begin with the first attempt. Unlogged, since a crash may lose them.
CREATE UNLOGGED TABLE attempts (
    key text PRIMARY KEY,
    count integer NOT NULL,
    window_ends_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Counts one attempt under each key. Returns for each key how many its window has, and how many seconds it still lasts.
-- Keys are locked in order, so that two calls with the same keys never end in a deadlock.
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

-- An inbox is a log with a cursor: whatever happens to it takes the next number of that inbox, in the same transaction.

-- Every change updates a row: the free space lets the new version stand in the same page (HOT).
CREATE TABLE inboxes (
    user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    cursor bigint NOT NULL DEFAULT 0,
    unread_count integer NOT NULL DEFAULT 0,
    total_count integer NOT NULL DEFAULT 0,
    -- Deletions up to this number may have been purged: readers with a lower cursor have to read the list anew.
    horizon bigint NOT NULL DEFAULT 0,
    -- The highest id that any item has had; the nil id, which is below all others, if there were none.
    last_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000'
) WITH (fillfactor = 20);

-- There is no foreign key, whose check takes a fifth of an insert's time. It is not needed: every change goes through the
-- functions below, which lock the inbox, so no row outlives its inbox. Ids are UUIDv7: their order is the order of time.
CREATE TABLE feedback (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    cursor bigint NOT NULL,
    created_cursor bigint NOT NULL,
    created_at timestamptz NOT NULL,
    deleted_at timestamptz,
    widget_id uuid,
    is_read boolean NOT NULL DEFAULT false,
    ip_address inet,
    message text NOT NULL,
    -- json keeps the numbers as they were sent; jsonb would write 1e300 as 301 digits.
    metadata json,
    PRIMARY KEY (user_id, id)
);

CREATE UNIQUE INDEX feedback_cursor_key ON feedback (user_id, cursor);

-- Only deleted items are in this index, so only deletions write to it.
CREATE INDEX feedback_deleted_key ON feedback (deleted_at) WHERE deleted_at IS NOT NULL;

-- Only feedback that came through a widget is in this index.
CREATE INDEX feedback_widget_key ON feedback (user_id, widget_id, id) WHERE widget_id IS NOT NULL;

CREATE TABLE idempotency (
    user_id uuid NOT NULL,
    key text NOT NULL,
    body_hash bytea NOT NULL,
    feedback_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);

CREATE INDEX idempotency_created_key ON idempotency (created_at);

-- The time in a UUIDv7: milliseconds since 1970 and 12 bits of their fraction (RFC 9562, 5.7 and 6.2).
CREATE FUNCTION id_time(p_id uuid)
RETURNS bigint
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT ('x0' || left(p_id::text, 8) || substr(p_id::text, 10, 4) || substr(p_id::text, 16, 3))::bit(64)::bigint
$$;

-- Returns a UUIDv7 with its time replaced.
CREATE FUNCTION id_at(p_id uuid, p_time bigint)
RETURNS uuid
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT (left(lpad(to_hex(p_time), 15, '0'), 12) || '7' || right(to_hex(p_time), 3) || substr(p_id::text, 19))::uuid
$$;

-- Returns ids (ascending) with their times moved up as far as needed for all to be above p_last, in the same order.
CREATE FUNCTION ids_after(p_last uuid, p_ids uuid[])
RETURNS uuid[]
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT array_agg(id_at(u.id, greatest(id_time(p_last) + u.n, id_time(u.id))) ORDER BY u.n)
    FROM unnest(p_ids) WITH ORDINALITY AS u (id, n)
$$;

-- Appends rows to one inbox. The arrays are parallel, with one element a row, and the ids ascend; p_keys is null if no row has
-- an idempotency key. A row whose id is not above all ids in the inbox gets a later one.
-- Returns no row if there is no such inbox, and a null cursor if the inbox is locked and p_skip_locked is set. Else it returns
-- the cursor after the change and, if any row is not stored under its own id, an array with one element a row: the id of the
-- earlier row with the same key and body; a later id than its own; the nil id if that key came with another body; or null if
-- the row is stored under its own id.
CREATE FUNCTION inbox_append(
    p_user_id uuid,
    p_ids uuid[],
    p_created_at timestamptz[],
    p_widget_ids uuid[],
    p_addresses inet[],
    p_messages text[],
    p_metadata json[],
    p_keys text[],
    p_hashes bytea[],
    p_skip_locked boolean DEFAULT false
)
RETURNS TABLE (new_cursor bigint, earlier_ids uuid[])
LANGUAGE plpgsql
SET lock_timeout = '1s'
AS $$
DECLARE
    v_count integer := cardinality(p_ids);
    v_ids uuid[] := p_ids;
    v_created_at timestamptz[] := p_created_at;
    v_earlier uuid[];
    -- For each row its number among the new rows, null if it is not new; null as a whole if all are new.
    v_places integer[];
    v_hash bytea;
    v_id uuid;
    v_last uuid;
    v_cursor bigint;
BEGIN
    IF p_skip_locked THEN
        PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN QUERY SELECT NULL::bigint, NULL::uuid[] FROM inboxes AS i WHERE i.user_id = p_user_id;
            RETURN;
        END IF;
    END IF;

    IF p_keys IS NOT NULL THEN
        -- The lock is taken first: under it, every key that was committed before is visible.
        SELECT i.last_id INTO v_last FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        IF v_last >= p_ids[1] THEN
            v_ids := ids_after(v_last, p_ids);
        END IF;
        v_earlier := array_fill(NULL::uuid, ARRAY[v_count]);
        v_places := array_fill(NULL::integer, ARRAY[v_count]);
        v_count := 0;
        FOR n IN 1 .. cardinality(p_ids) LOOP
            IF p_keys[n] IS NOT NULL THEN
                INSERT INTO idempotency AS k (user_id, key, body_hash, feedback_id)
                VALUES (p_user_id, p_keys[n], p_hashes[n], v_ids[n])
                ON CONFLICT (user_id, key) DO UPDATE
                SET body_hash = excluded.body_hash, feedback_id = excluded.feedback_id, created_at = now()
                WHERE k.created_at < now() - interval '24 hours';
                IF NOT FOUND THEN
                    SELECT k.body_hash, k.feedback_id INTO STRICT v_hash, v_id
                    FROM idempotency AS k WHERE k.user_id = p_user_id AND k.key = p_keys[n];
                    v_earlier[n] := CASE WHEN v_hash = p_hashes[n] THEN v_id
                        ELSE '00000000-0000-0000-0000-000000000000'::uuid END;
                    CONTINUE;
                END IF;
            END IF;
            v_count := v_count + 1;
            v_places[n] := v_count;
        END LOOP;
    END IF;

    UPDATE inboxes AS i
    SET cursor = i.cursor + v_count,
        unread_count = i.unread_count + v_count,
        total_count = i.total_count + v_count,
        last_id = CASE WHEN i.last_id < v_ids[1] THEN v_ids[cardinality(v_ids)] ELSE i.last_id END
    WHERE i.user_id = p_user_id
    RETURNING i.cursor, i.last_id INTO v_cursor, v_last;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_last <> v_ids[cardinality(v_ids)] THEN
        v_ids := ids_after(v_last, p_ids);
        UPDATE inboxes AS i SET last_id = v_ids[cardinality(v_ids)] WHERE i.user_id = p_user_id;
    END IF;
    IF v_ids[1] <> p_ids[1] THEN
        v_created_at := ARRAY(
            SELECT 'epoch'::timestamptz + (id_time(u.id) >> 12) * interval '1 millisecond'
            FROM unnest(v_ids) WITH ORDINALITY AS u (id, n) ORDER BY u.n
        );
        v_earlier := ARRAY(
            SELECT coalesce(u.earlier, nullif(u.id, u.own))
            FROM unnest(v_earlier, v_ids, p_ids) WITH ORDINALITY AS u (earlier, id, own, n) ORDER BY u.n
        );
    END IF;

    INSERT INTO feedback (user_id, id, cursor, created_cursor, created_at, widget_id, ip_address, message, metadata)
    SELECT p_user_id, r.id, v_cursor - v_count + r.place, v_cursor - v_count + r.place,
        r.created_at, r.widget_id, r.address, r.message, r.metadata
    FROM (
        SELECT u.*, CASE WHEN v_places IS NULL THEN u.n ELSE v_places[u.n] END AS place
        FROM unnest(v_ids, v_created_at, p_widget_ids, p_addresses, p_messages, p_metadata)
            WITH ORDINALITY AS u (id, created_at, widget_id, address, message, metadata, n)
    ) AS r
    WHERE r.place IS NOT NULL;
    new_cursor := v_cursor;
    earlier_ids := v_earlier;
    RETURN NEXT;
END
$$;

-- Marks items of one inbox read or unread, by id (p_ids) or all that arrived up to a cursor (p_up_to), at most p_most.
-- Returns the items that changed, each with its new number; items that already are so do not change. The columns are listed
-- because a function that returns a table's row type fails if a column is added while it waits.
CREATE FUNCTION inbox_mark(p_user_id uuid, p_ids uuid[], p_up_to bigint, p_is_read boolean, p_most integer)
RETURNS TABLE (
    id uuid, user_id uuid, message text, created_at timestamptz, is_read boolean, ip_address inet, metadata json, widget_id uuid,
    cursor bigint
)
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
#variable_conflict use_column
DECLARE
    v_cursor bigint;
    v_count integer;
BEGIN
    SELECT i.cursor INTO v_cursor FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    RETURN QUERY
    UPDATE feedback AS f
    SET is_read = p_is_read, cursor = v_cursor + c.n
    FROM (
        SELECT t.id, row_number() OVER (ORDER BY t.id) AS n
        FROM (
            SELECT g.id
            FROM feedback AS g
            WHERE g.user_id = p_user_id
                AND g.id = ANY (p_ids)
                AND g.deleted_at IS NULL
                AND g.is_read <> p_is_read
            UNION ALL
            SELECT g.id
            FROM feedback AS g
            WHERE g.user_id = p_user_id
                AND p_ids IS NULL
                AND g.created_cursor <= p_up_to
                AND g.deleted_at IS NULL
                AND g.is_read <> p_is_read
            LIMIT p_most
        ) AS t
    ) AS c
    WHERE f.user_id = p_user_id AND f.id = c.id
    RETURNING f.id, f.user_id, f.message, f.created_at, f.is_read, f.ip_address, f.metadata, f.widget_id, f.cursor;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    IF v_count > 0 THEN
        UPDATE inboxes AS i
        SET cursor = i.cursor + v_count,
            unread_count = i.unread_count + CASE WHEN p_is_read THEN -v_count ELSE v_count END
        WHERE i.user_id = p_user_id;
        PERFORM pg_notify('fw_inbox', p_user_id::text);
    END IF;
END
$$;

-- Deletes an item: its text at once, while its number stays as a tombstone for readers that come back later. Returns false if
-- there is no such item.
CREATE FUNCTION inbox_delete(p_user_id uuid, p_id uuid)
RETURNS boolean
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
DECLARE
    v_cursor bigint;
    v_was_read boolean;
BEGIN
    SELECT i.cursor + 1 INTO v_cursor FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    UPDATE feedback AS f
    SET cursor = v_cursor, deleted_at = now(), message = '', metadata = NULL, ip_address = NULL
    WHERE f.user_id = p_user_id AND f.id = p_id AND f.deleted_at IS NULL
    RETURNING f.is_read INTO v_was_read;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE inboxes AS i
    SET cursor = v_cursor,
        total_count = i.total_count - 1,
        unread_count = i.unread_count - CASE WHEN v_was_read THEN 0 ELSE 1 END
    WHERE i.user_id = p_user_id;
    PERFORM pg_notify('fw_inbox', p_user_id::text);
    RETURN true;
END
$$;

-- Removes the oldest deletions of an inbox from before a moment, at most p_most, and moves its horizon up to them. Returns
-- how many it removed.
CREATE FUNCTION inbox_forget(p_user_id uuid, p_before timestamptz, p_most integer)
RETURNS integer
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
DECLARE
    v_horizon bigint;
    v_count integer;
BEGIN
    PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    WITH gone AS (
        DELETE FROM feedback AS f
        USING (
            SELECT o.id
            FROM feedback AS o
            WHERE o.user_id = p_user_id AND o.deleted_at < p_before
            ORDER BY o.cursor
            LIMIT p_most
        ) AS d
        WHERE f.user_id = p_user_id AND f.id = d.id
        RETURNING f.cursor
    )
    SELECT max(g.cursor), count(*) INTO v_horizon, v_count FROM gone AS g;
    UPDATE inboxes AS i SET horizon = greatest(i.horizon, v_horizon) WHERE i.user_id = p_user_id;
    RETURN v_count;
END
$$;

-- Deletes an account with everything that belongs to it. Returns false if there is no such account.
CREATE FUNCTION account_delete(p_user_id uuid)
RETURNS boolean
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
BEGIN
    PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    DELETE FROM feedback WHERE user_id = p_user_id;
    DELETE FROM idempotency WHERE user_id = p_user_id;
    PERFORM pg_notify('fw_session', p_user_id::text);
    DELETE FROM users WHERE id = p_user_id;
    RETURN FOUND;
END
$$;

-- Widgets, and the counters of their views and opens.

CREATE TABLE widgets (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name text NOT NULL,
    type text NOT NULL,
    theme text NOT NULL,
    settings jsonb NOT NULL,
    is_active boolean NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE INDEX widgets_user_key ON widgets (user_id, id);

-- Views and opens by quarters of an hour (UTC). The offset of every present time zone is a whole number of quarters, so a day
-- in any zone is a sum of rows.
CREATE TABLE widget_events (
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    widget_id uuid NOT NULL,
    quarter timestamptz NOT NULL,
    views bigint NOT NULL DEFAULT 0,
    opens bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, widget_id, quarter)
) WITH (fillfactor = 70);

-- Makes a widget unless its owner already has p_free of them or, on premium, p_premium. The lock on the owner makes
-- simultaneous calls count one after the other. Returns no row if the limit is reached.
CREATE FUNCTION widget_create(
    p_user_id uuid, p_id uuid, p_created_at timestamptz, p_name text, p_type text, p_theme text, p_settings jsonb,
    p_is_active boolean, p_free integer, p_premium integer
)
RETURNS TABLE (
    id uuid, user_id uuid, name text, type text, theme text, settings jsonb, is_active boolean, created_at timestamptz
)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_limit integer;
BEGIN
    SELECT CASE WHEN u.is_premium THEN p_premium ELSE p_free END INTO v_limit
    FROM users AS u WHERE u.id = p_user_id FOR NO KEY UPDATE;
    IF (SELECT count(*) FROM widgets AS w WHERE w.user_id = p_user_id) >= v_limit THEN
        RETURN;
    END IF;
    RETURN QUERY
    INSERT INTO widgets AS w (id, user_id, name, type, theme, settings, is_active, created_at)
    VALUES (p_id, p_user_id, p_name, p_type, p_theme, p_settings, p_is_active, p_created_at)
    RETURNING w.id, w.user_id, w.name, w.type, w.theme, w.settings, w.is_active, w.created_at;
END
$$;

-- Places of readers (live sockets, waiting polls), leased by processes. Unlogged: after a crash the processes write them anew.

CREATE UNLOGGED TABLE reader_processes (
    id uuid PRIMARY KEY,
    seen_at timestamptz NOT NULL
);

CREATE UNLOGGED TABLE reader_places (
    user_id uuid NOT NULL,
    process_id uuid NOT NULL,
    places integer NOT NULL,
    PRIMARY KEY (user_id, process_id)
) WITH (fillfactor = 70);

-- Leases one more place of a user to a process, unless p_most are leased to live processes. Returns whether it did.
CREATE FUNCTION readers_take(p_user_id uuid, p_process_id uuid, p_most integer)
RETURNS boolean
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
BEGIN
    -- One call a user at a time. The next statement has a snapshot from after the lock, so it counts all leases.
    PERFORM pg_advisory_xact_lock(hashtextextended(p_user_id::text, 7236837236));
    IF (
        SELECT coalesce(sum(r.places), 0)
        FROM reader_places AS r
        JOIN reader_processes AS p ON p.id = r.process_id
        WHERE r.user_id = p_user_id AND p.seen_at > now() - interval '20 seconds'
    ) >= p_most THEN
        RETURN false;
    END IF;
    INSERT INTO reader_places AS r (user_id, process_id, places)
    VALUES (p_user_id, p_process_id, 1)
    ON CONFLICT (user_id, process_id) DO UPDATE
    SET places = r.places + 1;
    RETURN true;
END
$$;

-- Searches an inbox between two ids, newest or oldest first, for at most p_seconds: then a last row, without an id, has in
-- stopped_at the last id that was looked at. It looks at the items in parts that grow and shrink with the time they take, since
-- one message may take a thousand times as long as another. As a STABLE function it sees the snapshot of the query that calls it.
CREATE FUNCTION inbox_search(
    p_user_id uuid,
    p_low uuid,
    p_high uuid,
    p_is_read boolean,
    p_widget_id uuid,
    p_pattern text,
    p_most integer,
    p_is_newest boolean,
    p_seconds double precision
)
RETURNS TABLE (
    id uuid, user_id uuid, message text, created_at timestamptz, is_read boolean, ip_address text, metadata json,
    widget_id uuid, cursor bigint, stopped_at uuid
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
DECLARE
    v_end timestamptz := clock_timestamp() + p_seconds * interval '1 second';
    v_begin timestamptz;
    v_low uuid := p_low;
    v_high uuid := p_high;
    v_last uuid;
    v_part integer := 64;
    v_found integer := 0;
    v_count integer;
BEGIN
    LOOP
        v_begin := clock_timestamp();
        IF p_is_newest THEN
            SELECT f.id INTO v_last
            FROM feedback AS f
            WHERE f.user_id = p_user_id AND f.id > v_low AND f.id < v_high
            ORDER BY f.user_id DESC, f.id DESC
            OFFSET v_part - 1 LIMIT 1;
            RETURN QUERY
            SELECT f.id, f.user_id, f.message, f.created_at, f.is_read, host(f.ip_address), f.metadata, f.widget_id, f.cursor,
                NULL::uuid
            FROM feedback AS f
            WHERE f.user_id = p_user_id
                AND f.id >= coalesce(v_last, v_low)
                AND f.id > v_low
                AND f.id < v_high
                AND f.deleted_at IS NULL
                AND (p_is_read IS NULL OR f.is_read = p_is_read)
                AND (p_widget_id IS NULL OR f.widget_id = p_widget_id)
                AND (p_pattern IS NULL OR f.message COLLATE "C" ~ p_pattern)
            ORDER BY f.user_id DESC, f.id DESC
            LIMIT p_most - v_found;
            v_high := v_last;
        ELSE
            SELECT f.id INTO v_last
            FROM feedback AS f
            WHERE f.user_id = p_user_id AND f.id > v_low AND f.id < v_high
            ORDER BY f.user_id, f.id
            OFFSET v_part - 1 LIMIT 1;
            RETURN QUERY
            SELECT f.id, f.user_id, f.message, f.created_at, f.is_read, host(f.ip_address), f.metadata, f.widget_id, f.cursor,
                NULL::uuid
            FROM feedback AS f
            WHERE f.user_id = p_user_id
                AND f.id > v_low
                AND f.id <= coalesce(v_last, v_high)
                AND f.id < v_high
                AND f.deleted_at IS NULL
                AND (p_is_read IS NULL OR f.is_read = p_is_read)
                AND (p_widget_id IS NULL OR f.widget_id = p_widget_id)
                AND (p_pattern IS NULL OR f.message COLLATE "C" ~ p_pattern)
            ORDER BY f.user_id, f.id
            LIMIT p_most - v_found;
            v_low := v_last;
        END IF;
        GET DIAGNOSTICS v_count = ROW_COUNT;
        v_found := v_found + v_count;
        -- No last id: these were all.
        IF v_found >= p_most OR v_last IS NULL THEN
            RETURN;
        END IF;
        IF clock_timestamp() >= v_end THEN
            RETURN QUERY
            SELECT NULL::uuid, NULL::uuid, NULL::text, NULL::timestamptz, NULL::boolean, NULL::text, NULL::json, NULL::uuid,
                NULL::bigint, v_last;
            RETURN;
        END IF;
        -- The next part may be of the slowest messages: 256 of these take 0.15 s.
        v_part := CASE WHEN clock_timestamp() - v_begin < interval '20 milliseconds' THEN least(v_part * 2, 256)
            ELSE greatest(v_part / 2, 16) END;
    END LOOP;
END
$$;
