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
    SELECT r.user_id INTO v_user_id FROM password_resets AS r WHERE r.token_hash = p_token_hash;
    -- The lock on the account is taken first, as in password_change, so the two never end in a deadlock. It is taken by a change:
    -- Citus has a lock for changes, and whoever takes that later ends in a deadlock with logins.
    UPDATE users AS u
    SET password_version = u.password_version
    WHERE u.id = v_user_id
    RETURNING u.password_version, u.email_key INTO v_password_version, v_email_key;
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
    last_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
    -- Whom a change of the inbox is told besides its readers: 1 webhooks of feedback.created, 2 of feedback.updated, 4 of
    -- feedback.deleted, 8 mail. Most inboxes have 0, so a submission costs no look-up.
    watch smallint NOT NULL DEFAULT 0
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

-- Only deleted items are in this index too: from here the oldest deletions of an inbox are found.
CREATE INDEX feedback_tombstones_key ON feedback (user_id, cursor) WHERE deleted_at IS NOT NULL;

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

-- Gives ids that ascend times up to a moment, in their order.
CREATE FUNCTION ids_until(p_moment timestamptz, p_ids uuid[])
RETURNS uuid[]
LANGUAGE sql
IMMUTABLE
AS $$
    SELECT array_agg(id_at(u.id, least(id_time(u.id), m.time - cardinality(p_ids) + u.n)) ORDER BY u.n)
    FROM unnest(p_ids) WITH ORDINALITY AS u (id, n),
        (SELECT floor(extract(epoch FROM p_moment) * 1000)::bigint << 12 AS time) AS m
$$;

-- Appends rows to one inbox. The arrays are parallel, with one element a row, and the ids ascend; p_keys is null if no row has
-- an idempotency key. A row whose id is not above all ids in the inbox gets a later one.
-- Returns no row if there is no such inbox, and a null cursor if the inbox is locked and p_skip_locked is set. Else it returns
-- the cursor after the change and, if any row is not stored under its own id, an array with one element a row: the id of the
-- earlier row with the same key and body; a later id than its own; the nil id if that key came with another body; or null if
-- the row is stored under its own id. is_watched tells that jobs may have been made for webhooks or mails.
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
RETURNS TABLE (new_cursor bigint, earlier_ids uuid[], is_watched boolean)
LANGUAGE plpgsql
SET lock_timeout = '200ms'
AS $$
DECLARE
    v_count integer := cardinality(p_ids);
    v_own uuid[] := p_ids;
    v_ids uuid[];
    v_created_at timestamptz[] := p_created_at;
    v_earlier uuid[];
    -- For each row its number among the new rows, null if it is not new; null as a whole if all are new.
    v_places integer[];
    v_hash bytea;
    v_id uuid;
    v_last uuid;
    v_cursor bigint;
    v_watch smallint;
    -- Citus takes no functions of the moment in ON CONFLICT.
    v_now timestamptz;
    v_expired timestamptz;
BEGIN
    IF p_skip_locked THEN
        PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE SKIP LOCKED;
        IF NOT FOUND THEN
            RETURN QUERY SELECT NULL::bigint, NULL::uuid[], false FROM inboxes AS i WHERE i.user_id = p_user_id;
            RETURN;
        END IF;
    END IF;

    IF p_created_at[v_count] > clock_timestamp() + interval '1 minute' THEN
        -- The clock of the host that sends this is ahead. Later rows of the inbox would follow it, whoever sends them.
        v_own := ids_until(clock_timestamp(), p_ids);
    END IF;
    v_ids := v_own;

    IF p_keys IS NOT NULL THEN
        -- The lock is taken first: under it, every key that was committed before is visible.
        SELECT i.last_id INTO v_last FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        IF v_last >= v_own[1] THEN
            v_ids := ids_after(v_last, v_own);
        END IF;
        v_now := now();
        v_expired := v_now - interval '24 hours';
        v_earlier := array_fill(NULL::uuid, ARRAY[v_count]);
        v_places := array_fill(NULL::integer, ARRAY[v_count]);
        v_count := 0;
        FOR n IN 1 .. cardinality(p_ids) LOOP
            IF p_keys[n] IS NOT NULL THEN
                INSERT INTO idempotency AS k (user_id, key, body_hash, feedback_id, created_at)
                VALUES (p_user_id, p_keys[n], p_hashes[n], v_ids[n], v_now)
                ON CONFLICT (user_id, key) DO UPDATE
                SET body_hash = excluded.body_hash, feedback_id = excluded.feedback_id, created_at = excluded.created_at
                WHERE k.created_at < v_expired;
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
    RETURNING i.cursor, i.last_id, i.watch INTO v_cursor, v_last, v_watch;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_last <> v_ids[cardinality(v_ids)] THEN
        v_ids := ids_after(v_last, v_own);
        -- Not v_ids[n] in the statement: Citus crashes while it writes that for the machine that has the row.
        v_last := v_ids[cardinality(v_ids)];
        UPDATE inboxes AS i SET last_id = v_last WHERE i.user_id = p_user_id;
    END IF;
    IF v_ids <> p_ids THEN
        v_created_at := ARRAY(
            SELECT 'epoch'::timestamptz + (id_time(u.id) >> 12) * interval '1 millisecond'
            FROM unnest(v_ids) WITH ORDINALITY AS u (id, n) ORDER BY u.n
        );
        v_earlier := ARRAY(
            SELECT coalesce(u.earlier, nullif(u.id, u.own))
            FROM unnest(v_earlier, v_ids, p_ids) WITH ORDINALITY AS u (earlier, id, own, n) ORDER BY u.n
        );
    END IF;

    IF v_count = 1 AND cardinality(p_ids) = 1 THEN
        -- Citus takes a lone row to its machine at once, and rows of a query by a file.
        INSERT INTO feedback (user_id, id, cursor, created_cursor, created_at, widget_id, ip_address, message, metadata)
        VALUES (
            p_user_id, v_ids[1], v_cursor, v_cursor,
            v_created_at[1], p_widget_ids[1], p_addresses[1], p_messages[1], p_metadata[1]
        );
    ELSIF v_count > 0 THEN
        INSERT INTO feedback (user_id, id, cursor, created_cursor, created_at, widget_id, ip_address, message, metadata)
        SELECT p_user_id, r.id, v_cursor - v_count + r.place, v_cursor - v_count + r.place,
            r.created_at, r.widget_id, r.address, r.message, r.metadata
        FROM (
            SELECT u.*, CASE WHEN v_places IS NULL THEN u.n ELSE v_places[u.n] END AS place
            FROM unnest(v_ids, v_created_at, p_widget_ids, p_addresses, p_messages, p_metadata)
                WITH ORDINALITY AS u (id, created_at, widget_id, address, message, metadata, n)
        ) AS r
        WHERE r.place IS NOT NULL;
    END IF;
    IF v_watch <> 0 THEN
        PERFORM inbox_tell(p_user_id, v_watch, 'feedback.created', v_cursor - v_count);
    END IF;
    new_cursor := v_cursor;
    earlier_ids := v_earlier;
    is_watched := v_watch <> 0;
    RETURN NEXT;
END
$$;

-- Appends rows to inboxes that are on one machine, if the data is spread over several: p_near is one of them. The rows of an inbox
-- stand from p_lows to p_highs in the parallel arrays of inbox_append; p_usernames has the folded names that it was looked up by.
-- Returns a row for each inbox that there is, as inbox_append does; is_renamed tells that its name is another's now, and nothing
-- was stored.
CREATE FUNCTION inboxes_append(
    p_near uuid,
    p_user_ids uuid[],
    p_usernames text[],
    p_lows integer[],
    p_highs integer[],
    p_skip_locked boolean[],
    p_is_patient boolean,
    p_ids text[],
    p_created_at timestamptz[],
    p_widget_ids text[],
    p_addresses text[],
    p_messages text[],
    p_metadata text[],
    p_keys text[],
    p_hashes bytea[]
)
RETURNS TABLE (place integer, user_id uuid, earlier_ids uuid[], is_locked boolean, is_renamed boolean, is_watched boolean)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_low integer;
    v_high integer;
    v_cursor bigint;
    v_username text;
BEGIN
    FOR n IN 1 .. cardinality(p_user_ids) LOOP
        place := n;
        user_id := p_user_ids[n];
        v_low := p_lows[n];
        v_high := p_highs[n];
        is_renamed := false;
        IF p_usernames[n] IS NOT NULL THEN
            SELECT lower(u.username COLLATE "C") INTO v_username FROM users AS u WHERE u.id = p_user_ids[n];
            is_renamed := v_username IS DISTINCT FROM p_usernames[n];
        END IF;
        IF is_renamed THEN
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF p_is_patient THEN
            PERFORM inbox_hold(p_user_ids[n]);
        END IF;
        SELECT a.earlier_ids, a.new_cursor, a.is_watched INTO earlier_ids, v_cursor, is_watched
        FROM inbox_append(
            p_user_ids[n],
            p_ids[v_low:v_high]::uuid[],
            p_created_at[v_low:v_high],
            p_widget_ids[v_low:v_high]::uuid[],
            p_addresses[v_low:v_high]::inet[],
            p_messages[v_low:v_high],
            p_metadata[v_low:v_high]::json[],
            p_keys[v_low:v_high],
            p_hashes[v_low:v_high],
            p_skip_locked[n]
        ) AS a;
        IF FOUND THEN
            is_locked := v_cursor IS NULL;
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;

-- Locks an inbox, for which it waits longer than inbox_append does, and returns its id.
CREATE FUNCTION inbox_hold(p_user_id uuid)
RETURNS uuid
LANGUAGE plpgsql
SET lock_timeout = '1s'
AS $$
BEGIN
    PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    RETURN p_user_id;
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
    v_watch smallint;
BEGIN
    SELECT i.cursor, i.watch INTO v_cursor, v_watch FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
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
        IF v_watch <> 0 THEN
            PERFORM inbox_tell(p_user_id, v_watch, 'feedback.updated', v_cursor);
        END IF;
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
    v_watch smallint;
BEGIN
    SELECT i.cursor + 1, i.watch INTO v_cursor, v_watch FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
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
    IF v_watch <> 0 THEN
        PERFORM inbox_tell(p_user_id, v_watch, 'feedback.deleted', v_cursor - 1);
    END IF;
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
    v_ids uuid[];
    v_horizon bigint;
BEGIN
    PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    -- In two statements: the planner takes the number of ids for much larger than it is, and would read the whole inbox.
    SELECT array_agg(d.id), max(d.cursor) INTO v_ids, v_horizon
    FROM (
        SELECT f.id, f.cursor
        FROM feedback AS f
        WHERE f.user_id = p_user_id AND f.deleted_at < p_before
        ORDER BY f.cursor
        LIMIT p_most
    ) AS d;
    DELETE FROM feedback AS f WHERE f.user_id = p_user_id AND f.id = ANY (v_ids);
    UPDATE inboxes AS i SET horizon = greatest(i.horizon, v_horizon) WHERE i.user_id = p_user_id;
    RETURN coalesce(cardinality(v_ids), 0);
END
$$;

-- Removes at most p_most deletions of seven days ago: the horizon of their inboxes moves up to them. An inbox that is locked is
-- left out; is_held_up tells that all were.
CREATE FUNCTION purge_tombstones(p_most integer)
RETURNS TABLE (purged integer, is_held_up boolean)
LANGUAGE plpgsql
AS $$
DECLARE
    v_before timestamptz := now() - interval '7 days';
    v_due uuid[];
    v_free uuid[] := '{}';
    v_user_id uuid;
BEGIN
    v_due := ARRAY(
        SELECT DISTINCT d.user_id
        FROM (
            SELECT f.user_id FROM feedback AS f WHERE f.deleted_at < v_before ORDER BY f.deleted_at LIMIT p_most
        ) AS d
        ORDER BY d.user_id
    );
    -- In the order of their ids, as batches of feedback lock them.
    FOREACH v_user_id IN ARRAY v_due LOOP
        PERFORM FROM inboxes AS i WHERE i.user_id = v_user_id FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            v_free := v_free || v_user_id;
        END IF;
    END LOOP;
    purged := 0;
    FOREACH v_user_id IN ARRAY v_free LOOP
        purged := purged + inbox_forget(v_user_id, v_before, greatest(1, p_most / cardinality(v_free)));
    END LOOP;
    is_held_up := cardinality(v_free) = 0 AND cardinality(v_due) > 0;
    RETURN NEXT;
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
    -- Lanes go before jobs: of a job that is added meanwhile, the lane stays, and whoever works on it gives the job up.
    DELETE FROM lanes WHERE user_id = p_user_id;
    DELETE FROM jobs WHERE user_id = p_user_id;
    DELETE FROM deliveries WHERE user_id = p_user_id;
    PERFORM pg_notify('fw_session', p_user_id::text);
    DELETE FROM users WHERE id = p_user_id;
    RETURN FOUND;
END
$$;

-- Deletes an account as account_delete does, if the version of the password that was checked is still the account's. Returns null
-- if it is not.
CREATE FUNCTION account_end(p_user_id uuid, p_password_version integer)
RETURNS boolean
LANGUAGE plpgsql
AS $$
BEGIN
    PERFORM FROM users AS u WHERE u.id = p_user_id AND u.password_version = p_password_version FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    RETURN account_delete(p_user_id);
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

-- Searches an inbox as inbox_search does, and returns with each item, or alone if there are none, the state of the inbox. No row if
-- there is no such inbox.
CREATE FUNCTION inbox_find(
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
    inbox_cursor bigint, unread_count integer, total_count integer, id uuid, user_id uuid, message text, created_at timestamptz,
    is_read boolean, ip_address text, metadata json, widget_id uuid, cursor bigint, stopped_at uuid
)
LANGUAGE plpgsql
STABLE
AS $$
#variable_conflict use_column
DECLARE
    v_cursor bigint;
    v_unread_count integer;
    v_total_count integer;
BEGIN
    SELECT i.cursor, i.unread_count, i.total_count INTO v_cursor, v_unread_count, v_total_count
    FROM inboxes AS i
    WHERE i.user_id = p_user_id;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT v_cursor, v_unread_count, v_total_count, l.id, l.user_id, l.message, l.created_at, l.is_read, l.ip_address, l.metadata,
        l.widget_id, l.cursor, l.stopped_at
    FROM (SELECT 1) AS one
    LEFT JOIN inbox_search(
        p_user_id, p_low, p_high, p_is_read, p_widget_id, p_pattern, p_most, p_is_newest, p_seconds
    ) AS l ON true;
END
$$;

-- The outbox: what a change has to have done outside the database. The statement of the change writes the jobs, so both happen
-- or neither. Every table has user_id first in its key, as those of an inbox: a job is written where the inbox is, also if inboxes
-- are spread over machines. There lanes can be found over all machines without a lock, and then leased one by one.

-- A lane is a queue of jobs that are done one after the other: the webhooks of one endpoint, the mails of one account. It is
-- there as long as it has jobs. Processes lease lanes, not jobs: those of owners with few jobs come as often as those of owners
-- with many, because a lane that was served goes to the end of the order.
CREATE TABLE lanes (
    user_id uuid NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    -- When it has to be looked at next.
    due timestamptz NOT NULL,
    lease uuid,
    leased_until timestamptz,
    -- New jobs do not bring it forward before this.
    paused_until timestamptz,
    PRIMARY KEY (user_id, kind, key)
) WITH (fillfactor = 70);

CREATE INDEX lanes_due_key ON lanes (kind, due);

CREATE TABLE jobs (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    payload json NOT NULL,
    due timestamptz NOT NULL,
    -- The order of jobs that were due at the same moment.
    place bigint NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- What it is about, if more of the same is not to be another job while it waits.
    subject uuid,
    PRIMARY KEY (user_id, id)
) WITH (fillfactor = 70);

CREATE INDEX jobs_lane_key ON jobs (user_id, kind, key, due, place);

CREATE INDEX jobs_subject_key ON jobs (user_id, key, subject) WHERE subject IS NOT NULL;

CREATE TABLE webhooks (
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    id uuid NOT NULL,
    url text NOT NULL,
    events text[] NOT NULL,
    description text,
    is_active boolean NOT NULL,
    created_at timestamptz NOT NULL,
    failing_since timestamptz,
    disabled_reason text,
    secret text NOT NULL,
    -- Signs too, until its end.
    old_secret text,
    old_secret_until timestamptz,
    PRIMARY KEY (user_id, id)
);

-- What was sent to a webhook, or is to be. The data is read when it is sent: a deleted item is in no delivery.
CREATE TABLE deliveries (
    user_id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    id uuid NOT NULL,
    type text NOT NULL,
    feedback_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    delivered_at timestamptz,
    status_code integer,
    error text,
    PRIMARY KEY (user_id, webhook_id, id)
) WITH (fillfactor = 80);

CREATE INDEX deliveries_created_key ON deliveries (created_at);

-- What an owner wants to be told by mail. An account without a row wants nothing.
CREATE TABLE notifications (
    user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    mail text NOT NULL,
    timezone text NOT NULL,
    -- What arrived up to here has been told.
    told_cursor bigint NOT NULL
);

-- One verification token an account, of which only the SHA-256 is stored; a new one takes the place of the older one.
CREATE TABLE email_verifications (
    user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    token_hash bytea NOT NULL CONSTRAINT email_verifications_token_key UNIQUE,
    expires_at timestamptz NOT NULL,
    email_key text NOT NULL
);

-- Writes jobs, one for each id, with the lane that they are in; p_subjects is null if they have none.
CREATE FUNCTION jobs_add(
    p_user_id uuid, p_kind text, p_key text, p_ids uuid[], p_payloads json[], p_places bigint[], p_subjects uuid[] DEFAULT NULL
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    -- Not now(), the time at which the transaction began: of two that wait for one inbox, the later one may get it first.
    v_now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO jobs (user_id, id, kind, key, payload, due, place, subject)
    SELECT p_user_id, u.id, p_kind, p_key, u.payload, v_now, u.place, u.subject
    FROM unnest(p_ids, p_payloads, p_places, p_subjects) AS u (id, payload, place, subject)
    ON CONFLICT (user_id, id) DO NOTHING;
    -- After the jobs: whoever drops a lane holds its lock, and looks for jobs under it.
    INSERT INTO lanes AS l (user_id, kind, key, due)
    VALUES (p_user_id, p_kind, p_key, v_now)
    ON CONFLICT (user_id, kind, key) DO UPDATE
    SET due = least(l.due, greatest(excluded.due, l.paused_until));
    PERFORM pg_notify('fw_outbox', p_kind);
END
$$;

-- Ends a lease of a lane: its next job is due when it says, but not before p_pause_seconds. A lane without jobs is dropped.
-- Returns whether the next job is due already: nobody gives a hint of that.
CREATE FUNCTION lane_release(p_user_id uuid, p_kind text, p_key text, p_lease uuid, p_pause_seconds double precision)
RETURNS boolean
LANGUAGE plpgsql
AS $$
DECLARE
    v_due timestamptz;
BEGIN
    PERFORM FROM lanes AS l
    WHERE l.user_id = p_user_id AND l.kind = p_kind AND l.key = p_key AND l.lease = p_lease
    FOR UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- This is a statement of its own so that it sees the jobs of those who had the lock before.
    SELECT j.due INTO v_due
    FROM jobs AS j
    WHERE j.user_id = p_user_id AND j.kind = p_kind AND j.key = p_key
    ORDER BY j.due
    LIMIT 1;
    IF v_due IS NULL THEN
        DELETE FROM lanes AS l WHERE l.user_id = p_user_id AND l.kind = p_kind AND l.key = p_key;
    ELSE
        UPDATE lanes AS l
        SET due = greatest(v_due, now() + p_pause_seconds * interval '1 second'),
            paused_until = now() + p_pause_seconds * interval '1 second',
            lease = NULL,
            leased_until = NULL
        WHERE l.user_id = p_user_id AND l.kind = p_kind AND l.key = p_key;
    END IF;
    RETURN coalesce(v_due <= now() AND p_pause_seconds = 0, false);
END
$$;

-- Returns a UUIDv7 of this moment.
CREATE FUNCTION id_new()
RETURNS uuid
LANGUAGE sql
VOLATILE
AS $$
    SELECT id_at(gen_random_uuid(), (extract(epoch FROM clock_timestamp()) * 4096000)::bigint)
$$;

-- Has a digest written when its time comes, unless one waits already: all that arrives until then is in it. Called under the
-- inbox's lock, which is also held when a digest ends: so nothing that arrives falls between two digests.
CREATE FUNCTION digest_add(p_user_id uuid)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM jobs AS j WHERE j.user_id = p_user_id AND j.kind = 'mail' AND j.key = 'digest'
    ) THEN
        PERFORM jobs_add(
            p_user_id, 'mail', 'digest', ARRAY[id_new()], ARRAY[json_build_object('letter', 'digest')], ARRAY[0]
        );
    END IF;
END
$$;

-- Tells webhooks and mail of the changes of an inbox after a cursor, all of which are of one type. Called under the inbox's lock.
-- Several updates of an item are one delivery as long as that waits to be sent: what is sent is read then.
CREATE FUNCTION inbox_tell(p_user_id uuid, p_watch smallint, p_type text, p_after bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_bit smallint := CASE p_type WHEN 'feedback.created' THEN 1 WHEN 'feedback.updated' THEN 2 ELSE 4 END;
    v_mail text;
    v_feedback uuid[];
    v_cursors bigint[];
    v_ids uuid[];
    v_webhook uuid;
    v_told uuid[];
    v_places bigint[];
BEGIN
    SELECT array_agg(f.id ORDER BY f.cursor), array_agg(f.cursor ORDER BY f.cursor) INTO v_feedback, v_cursors
    FROM feedback AS f
    WHERE f.user_id = p_user_id AND f.cursor > p_after;
    IF v_feedback IS NULL THEN
        RETURN;
    END IF;
    IF p_watch & v_bit <> 0 THEN
        FOR v_webhook IN
            SELECT w.id FROM webhooks AS w
            WHERE w.user_id = p_user_id AND w.is_active AND p_type = ANY (w.events)
            ORDER BY w.id
        LOOP
            v_told := v_feedback;
            v_places := v_cursors;
            IF p_type = 'feedback.updated' THEN
                -- Whoever begins a job locks its lane: under this lock, one without an attempt has not been read.
                PERFORM FROM lanes AS l
                WHERE l.user_id = p_user_id AND l.kind = 'webhook' AND l.key = v_webhook::text
                FOR UPDATE;
                IF FOUND THEN
                    SELECT array_agg(u.id ORDER BY u.cursor), array_agg(u.cursor ORDER BY u.cursor) INTO v_told, v_places
                    FROM unnest(v_feedback, v_cursors) AS u (id, cursor)
                    WHERE NOT EXISTS (
                        SELECT FROM jobs AS j
                        WHERE j.user_id = p_user_id AND j.key = v_webhook::text AND j.subject = u.id AND j.attempts = 0
                    );
                    CONTINUE WHEN v_told IS NULL;
                END IF;
            END IF;
            v_ids := ARRAY(SELECT id_new() FROM unnest(v_told));
            INSERT INTO deliveries (user_id, webhook_id, id, type, feedback_id, next_attempt_at)
            SELECT p_user_id, v_webhook, u.id, p_type, u.feedback_id, now()
            FROM unnest(v_ids, v_told) AS u (id, feedback_id);
            PERFORM jobs_add(
                p_user_id, 'webhook', v_webhook::text, v_ids, array_fill('{}'::json, ARRAY[cardinality(v_ids)]), v_places,
                CASE p_type WHEN 'feedback.updated' THEN v_told END
            );
        END LOOP;
    END IF;
    IF p_watch & 8 <> 0 AND p_type = 'feedback.created' THEN
        SELECT n.mail INTO v_mail FROM notifications AS n WHERE n.user_id = p_user_id;
        IF v_mail = 'each' THEN
            PERFORM jobs_add(
                p_user_id, 'mail', 'feedback', v_feedback,
                ARRAY(SELECT json_build_object('letter', 'feedback') FROM unnest(v_feedback)), v_cursors
            );
        ELSE
            PERFORM digest_add(p_user_id);
        END IF;
    END IF;
END
$$;

-- Notes in the inbox whom its changes are told; called after each change of a webhook or of the notifications.
CREATE FUNCTION inbox_watch(p_user_id uuid)
RETURNS void
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
BEGIN
    PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    UPDATE inboxes AS i
    SET watch = coalesce((
            SELECT bit_or(CASE e.type WHEN 'feedback.created' THEN 1 WHEN 'feedback.updated' THEN 2 ELSE 4 END)
            FROM webhooks AS w
            CROSS JOIN LATERAL unnest(w.events) AS e (type)
            WHERE w.user_id = p_user_id AND w.is_active
        ), 0) + CASE WHEN EXISTS (
            SELECT FROM notifications AS n WHERE n.user_id = p_user_id AND n.mail <> 'off'
        ) THEN 8 ELSE 0 END
    WHERE i.user_id = p_user_id;
END
$$;

-- Makes a webhook, unless the account has p_most of them: then it returns no row. The columns are listed because Citus drops what
-- depends on the row type of a table that it spreads.
CREATE FUNCTION webhook_create(
    p_user_id uuid,
    p_id uuid,
    p_created_at timestamptz,
    p_url text,
    p_events text[],
    p_description text,
    p_secret text,
    p_most integer
)
RETURNS TABLE (
    id uuid, url text, events text[], description text, is_active boolean, created_at timestamptz, failing_since timestamptz,
    disabled_reason text, secret text
)
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    IF (SELECT count(*) FROM webhooks AS w WHERE w.user_id = p_user_id) >= p_most THEN
        RETURN;
    END IF;
    RETURN QUERY
    INSERT INTO webhooks AS w (user_id, id, url, events, description, is_active, created_at, secret)
    VALUES (p_user_id, p_id, p_url, p_events, p_description, true, p_created_at, p_secret)
    RETURNING w.id, w.url, w.events, w.description, w.is_active, w.created_at, w.failing_since, w.disabled_reason, w.secret;
    PERFORM inbox_watch(p_user_id);
END
$$;

-- Takes back what waits to be sent to a webhook. Called under the inbox's lock, so that nothing is added meanwhile. Of what has
-- not been tried the last thousand deliveries stay in the list: turning a webhook off and on is not to fill it.
CREATE FUNCTION webhook_withdraw(p_user_id uuid, p_id uuid)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    -- The lane goes first: whoever works on it locks it first, too.
    DELETE FROM lanes AS l WHERE l.user_id = p_user_id AND l.kind = 'webhook' AND l.key = p_id::text;
    WITH gone AS (
        DELETE FROM jobs AS j
        WHERE j.user_id = p_user_id AND j.kind = 'webhook' AND j.key = p_id::text
        RETURNING j.id
    ), numbered AS (
        SELECT g.id, row_number() OVER (ORDER BY g.id DESC) AS place FROM gone AS g
    ), dropped AS (
        DELETE FROM deliveries AS d
        USING numbered AS g
        WHERE d.user_id = p_user_id AND d.webhook_id = p_id AND d.id = g.id AND d.attempts = 0 AND g.place > 1000
    )
    UPDATE deliveries AS d
    SET next_attempt_at = NULL, error = coalesce(d.error, 'the webhook was turned off')
    FROM numbered AS g
    WHERE d.user_id = p_user_id AND d.webhook_id = p_id AND d.id = g.id AND (d.attempts > 0 OR g.place <= 1000);
END
$$;

-- Changes the given fields of a webhook; the description, which may be null, if p_has_description says so. To turn it on, or to
-- give it another address, is to begin anew: what failed before does not count.
CREATE FUNCTION webhook_update(
    p_user_id uuid, p_id uuid, p_url text, p_events text[], p_has_description boolean, p_description text, p_is_active boolean
)
RETURNS TABLE (
    id uuid, url text, events text[], description text, is_active boolean, created_at timestamptz, failing_since timestamptz,
    disabled_reason text, secret text
)
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    RETURN QUERY
    UPDATE webhooks AS w
    SET url = coalesce(p_url, w.url),
        events = coalesce(p_events, w.events),
        description = CASE WHEN p_has_description THEN p_description ELSE w.description END,
        is_active = coalesce(p_is_active, w.is_active),
        failing_since = CASE WHEN p_is_active OR p_url <> w.url THEN NULL ELSE w.failing_since END,
        disabled_reason = CASE WHEN p_is_active THEN NULL ELSE w.disabled_reason END
    WHERE w.user_id = p_user_id AND w.id = p_id
    RETURNING w.id, w.url, w.events, w.description, w.is_active, w.created_at, w.failing_since, w.disabled_reason, w.secret;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF p_is_active IS FALSE THEN
        PERFORM webhook_withdraw(p_user_id, p_id);
    ELSIF p_is_active OR p_url IS NOT NULL THEN
        UPDATE lanes AS l
        SET due = now(), paused_until = NULL
        WHERE l.user_id = p_user_id AND l.kind = 'webhook' AND l.key = p_id::text;
        PERFORM pg_notify('fw_outbox', 'webhook');
    END IF;
    PERFORM inbox_watch(p_user_id);
END
$$;

-- Deletes a webhook with its deliveries and what waits to be sent. Returns false if there is no such webhook.
CREATE FUNCTION webhook_delete(p_user_id uuid, p_id uuid)
RETURNS boolean
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
BEGIN
    PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    DELETE FROM webhooks AS w WHERE w.user_id = p_user_id AND w.id = p_id;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM webhook_withdraw(p_user_id, p_id);
    DELETE FROM deliveries AS d WHERE d.user_id = p_user_id AND d.webhook_id = p_id;
    PERFORM inbox_watch(p_user_id);
    RETURN true;
END
$$;

-- Turns a webhook off that does not work, takes back what waits to be sent, and has its owner told by mail, of all webhooks five
-- times a day at most. Returns false if it is not on.
CREATE FUNCTION webhook_turn_off(p_user_id uuid, p_id uuid, p_reason text)
RETURNS boolean
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
BEGIN
    PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    UPDATE webhooks AS w
    SET is_active = false, disabled_reason = p_reason
    WHERE w.user_id = p_user_id AND w.id = p_id AND w.is_active;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM webhook_withdraw(p_user_id, p_id);
    PERFORM inbox_watch(p_user_id);
    IF (
        SELECT c.attempts <= 5
        FROM attempts_count(ARRAY['webhook-mail:' || encode(sha256(uuid_send(p_user_id)), 'hex')], ARRAY[86400]) AS c
    ) THEN
        PERFORM jobs_add(
            p_user_id, 'mail', 'account', ARRAY[id_new()],
            ARRAY[json_build_object('letter', 'webhook', 'webhook_id', p_id)], ARRAY[0]
        );
    END IF;
    RETURN true;
END
$$;

-- Queues deliveries of a webhook, in the order of their ids, and has the next one sent now, whether its lane pauses or not. Those
-- with a job that waits begin anew. If p_is_first is set they are sent before whatever else waits.
CREATE FUNCTION webhook_queue(p_user_id uuid, p_id uuid, p_delivery_ids uuid[], p_is_first boolean)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_due timestamptz := clock_timestamp();
BEGIN
    -- The lane is locked before its jobs, as by whoever works on it.
    PERFORM FROM lanes AS l WHERE l.user_id = p_user_id AND l.kind = 'webhook' AND l.key = p_id::text FOR UPDATE;
    IF p_is_first THEN
        SELECT least(v_due, min(j.due) - interval '1 millisecond') INTO v_due
        FROM jobs AS j
        WHERE j.user_id = p_user_id AND j.kind = 'webhook' AND j.key = p_id::text;
    END IF;
    PERFORM jobs_add(
        p_user_id, 'webhook', p_id::text, ARRAY(SELECT u.id FROM unnest(p_delivery_ids) AS u (id) ORDER BY u.id),
        array_fill('{}'::json, ARRAY[cardinality(p_delivery_ids)]),
        ARRAY(SELECT generate_series(1, cardinality(p_delivery_ids))::bigint)
    );
    -- One of them may be under way: without a subject, nothing that happens now is taken for a part of it.
    UPDATE jobs AS j
    SET due = v_due, attempts = 0, subject = NULL
    WHERE j.user_id = p_user_id AND j.id = ANY (p_delivery_ids);
    UPDATE lanes AS l
    SET due = v_due, paused_until = NULL
    WHERE l.user_id = p_user_id AND l.kind = 'webhook' AND l.key = p_id::text;
END
$$;

-- Writes a delivery of the type ping, to be sent once; if ten wait already, the first of them is sent now. Returns false if there
-- is no such webhook.
CREATE FUNCTION webhook_ping(p_user_id uuid, p_id uuid)
RETURNS boolean
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
DECLARE
    v_waiting uuid[];
    v_delivery_id uuid := id_new();
BEGIN
    -- This keeps it from being deleted meanwhile.
    PERFORM FROM webhooks AS w WHERE w.user_id = p_user_id AND w.id = p_id FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM FROM lanes AS l WHERE l.user_id = p_user_id AND l.kind = 'webhook' AND l.key = p_id::text FOR UPDATE;
    -- The subject of a ping is its webhook.
    v_waiting := ARRAY(
        SELECT j.id FROM jobs AS j
        WHERE j.user_id = p_user_id AND j.key = p_id::text AND j.subject = p_id AND j.attempts = 0
        ORDER BY j.id
        LIMIT 10
    );
    IF cardinality(v_waiting) = 10 THEN
        v_delivery_id := v_waiting[1];
    ELSE
        INSERT INTO deliveries (user_id, webhook_id, id, type, next_attempt_at)
        VALUES (p_user_id, p_id, v_delivery_id, 'ping', now());
    END IF;
    PERFORM webhook_queue(p_user_id, p_id, ARRAY[v_delivery_id], true);
    UPDATE jobs AS j
    SET subject = p_id
    WHERE j.user_id = p_user_id AND j.id = v_delivery_id;
    RETURN true;
END
$$;

-- Queues deliveries of a webhook once more, under their old ids: one (p_delivery_id), or those since p_since that have failed, at
-- most p_most, without pings and what is about deleted feedback. p_after is an id below theirs. Returns how many, and null if
-- there is no such webhook or it is turned off.
CREATE FUNCTION webhook_resend(
    p_user_id uuid, p_id uuid, p_delivery_id uuid, p_since timestamptz, p_after uuid, p_most integer
)
RETURNS integer
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
DECLARE
    v_ids uuid[];
BEGIN
    PERFORM FROM webhooks AS w WHERE w.user_id = p_user_id AND w.id = p_id AND w.is_active FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    PERFORM FROM lanes AS l WHERE l.user_id = p_user_id AND l.kind = 'webhook' AND l.key = p_id::text FOR UPDATE;
    WITH again AS (
        UPDATE deliveries AS d
        SET next_attempt_at = now(), delivered_at = NULL, status_code = NULL, error = NULL
        FROM (
            SELECT o.id
            FROM deliveries AS o
            WHERE o.user_id = p_user_id AND o.webhook_id = p_id AND o.id = p_delivery_id
            UNION ALL
            (
                SELECT o.id
                FROM deliveries AS o
                WHERE o.user_id = p_user_id
                    AND o.webhook_id = p_id
                    AND o.id > p_after
                    AND o.created_at >= p_since
                    AND o.delivered_at IS NULL
                    -- Those that were queued again, and not tried since, have none.
                    AND o.error IS NOT NULL
                    AND (o.type = 'feedback.deleted' OR EXISTS (
                        SELECT FROM feedback AS f
                        WHERE f.user_id = p_user_id AND f.id = o.feedback_id AND f.deleted_at IS NULL
                    ))
                ORDER BY o.id
                LIMIT p_most
            )
        ) AS c
        WHERE d.user_id = p_user_id AND d.webhook_id = p_id AND d.id = c.id
        RETURNING d.id
    )
    SELECT array_agg(a.id) INTO v_ids FROM again AS a;
    IF v_ids IS NULL THEN
        RETURN 0;
    END IF;
    PERFORM webhook_queue(p_user_id, p_id, v_ids, p_delivery_id IS NOT NULL);
    RETURN cardinality(v_ids);
END
$$;

-- Ends a digest that has told of everything up to a cursor, or has found nothing to tell. If more has arrived, the next one waits.
CREATE FUNCTION digest_end(p_user_id uuid, p_job_id uuid, p_told_cursor bigint)
RETURNS void
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
DECLARE
    v_told_cursor bigint;
BEGIN
    PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    DELETE FROM jobs AS j WHERE j.user_id = p_user_id AND j.id = p_job_id;
    -- Whoever has ended it before, or withdrawn it, has moved the cursor.
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE notifications AS n
    SET told_cursor = greatest(n.told_cursor, p_told_cursor)
    WHERE n.user_id = p_user_id
    RETURNING n.told_cursor INTO v_told_cursor;
    IF EXISTS (
        SELECT FROM feedback AS f
        WHERE f.user_id = p_user_id AND f.cursor > v_told_cursor AND f.created_cursor > v_told_cursor AND f.deleted_at IS NULL
    ) THEN
        PERFORM digest_add(p_user_id);
    END IF;
END
$$;

-- Sets what an owner wants to be told by mail; null leaves a value as it is. Returns no row if there is no such account.
CREATE FUNCTION notifications_set(p_user_id uuid, p_mail text, p_timezone text)
RETURNS TABLE (mail text, timezone text)
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
#variable_conflict use_column
DECLARE
    v_cursor bigint;
    v_is_digest boolean;
BEGIN
    SELECT i.cursor INTO v_cursor FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    INSERT INTO notifications AS n (user_id, mail, timezone, told_cursor)
    VALUES (p_user_id, coalesce(p_mail, 'off'), coalesce(p_timezone, 'UTC'), v_cursor)
    ON CONFLICT (user_id) DO UPDATE
    SET mail = coalesce(p_mail, n.mail),
        timezone = coalesce(p_timezone, n.timezone),
        -- Between digests of an hour and of a day nothing is left out; what is turned on begins with what comes.
        told_cursor = CASE
            WHEN n.mail IN ('hourly', 'daily') AND coalesce(p_mail, n.mail) IN ('hourly', 'daily') THEN n.told_cursor
            ELSE v_cursor
        END
    RETURNING n.mail IN ('hourly', 'daily') INTO v_is_digest;
    -- The digest that waits is due at another time, or withdrawn. The lane comes first, as when a job is begun.
    UPDATE lanes AS l
    SET due = now()
    WHERE l.user_id = p_user_id AND l.kind = 'mail' AND l.key = 'digest';
    IF v_is_digest THEN
        UPDATE jobs AS j SET due = now() WHERE j.user_id = p_user_id AND j.kind = 'mail' AND j.key = 'digest';
    ELSE
        DELETE FROM jobs AS j WHERE j.user_id = p_user_id AND j.kind = 'mail' AND j.key = 'digest';
    END IF;
    PERFORM inbox_watch(p_user_id);
    PERFORM pg_notify('fw_outbox', 'mail');
    RETURN QUERY SELECT n.mail, n.timezone FROM notifications AS n WHERE n.user_id = p_user_id;
END
$$;

-- Turns mails of new feedback off, for an account that has turned them on.
CREATE FUNCTION notifications_off(p_user_id uuid)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    IF EXISTS (SELECT FROM notifications AS n WHERE n.user_id = p_user_id AND n.mail <> 'off') THEN
        PERFORM notifications_set(p_user_id, 'off', NULL);
    END IF;
END
$$;

-- Asks an account, by mail, whether its e-mail address is its own. The token ends with another one, or after a day.
CREATE FUNCTION verification_ask(p_user_id uuid, p_email_key text, p_job_id uuid, p_token_hash bytea)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO email_verifications (user_id, token_hash, expires_at, email_key)
    VALUES (p_user_id, p_token_hash, now() + interval '24 hours', p_email_key)
    ON CONFLICT (user_id) DO UPDATE
    SET token_hash = excluded.token_hash, expires_at = excluded.expires_at, email_key = excluded.email_key;
    PERFORM jobs_add(
        p_user_id, 'mail', 'account', ARRAY[p_job_id], ARRAY[json_build_object('letter', 'verification')], ARRAY[0]
    );
END
$$;

-- Asks an account by mail once more whether its address is its own, unless that is known.
CREATE FUNCTION verification_repeat(p_user_id uuid, p_job_id uuid, p_token_hash bytea)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_email_key text;
BEGIN
    SELECT u.email_key INTO v_email_key FROM users AS u WHERE u.id = p_user_id AND u.email_verified_at IS NULL;
    IF FOUND THEN
        PERFORM verification_ask(p_user_id, v_email_key, p_job_id, p_token_hash);
    END IF;
END
$$;

-- Uses a verification token once. Returns null if it is not valid.
CREATE FUNCTION verification_use(p_token_hash bytea)
RETURNS uuid
LANGUAGE plpgsql
AS $$
DECLARE
    v_user_id uuid;
    v_email_key text;
BEGIN
    -- Two statements: Citus would run one on the coordinator alone, and the copies of the account would differ.
    DELETE FROM email_verifications AS v
    WHERE v.token_hash = p_token_hash AND v.expires_at > now()
    RETURNING v.user_id, v.email_key INTO v_user_id, v_email_key;
    UPDATE users AS u
    SET email_verified_at = now()
    WHERE u.id = v_user_id AND u.email_key = v_email_key;
    RETURN CASE WHEN FOUND THEN v_user_id END;
END
$$;

-- Tells an account by mail of something that has happened to it, at another address than its own if there is p_email.
CREATE FUNCTION account_tell(p_user_id uuid, p_letter text, p_email text)
RETURNS void
LANGUAGE sql
AS $$
    SELECT jobs_add(
        p_user_id, 'mail', 'account', ARRAY[id_new()], ARRAY[json_build_object('letter', p_letter, 'email', p_email)], ARRAY[0]
    )
$$;

-- Changes the given fields of an account: those that are not null, and the picture if p_has_image is true. Another e-mail address
-- is not verified: it is asked for that by a job, and the old one is told. It is set only if the version of the password that was
-- checked is still the account's: else no row. Two addresses may have one key: it is another one if more than the case of ASCII
-- letters differs.
CREATE FUNCTION profile_update(
    p_user_id uuid,
    p_email text,
    p_email_key text,
    p_username text,
    p_has_image boolean,
    p_profile_image text,
    p_password_version integer,
    p_job_id uuid,
    p_token_hash bytea
)
RETURNS TABLE (
    id uuid, email text, username text, is_premium boolean, created_at timestamptz, last_login timestamptz, profile_image text,
    email_verified boolean
)
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    v_old_email text;
    v_email_key text;
    v_is_other boolean;
BEGIN
    SELECT u.email, lower(coalesce(p_email, u.email) COLLATE "C") <> lower(u.email COLLATE "C") INTO v_old_email, v_is_other
    FROM users AS u
    WHERE u.id = p_user_id
    FOR UPDATE;
    UPDATE users AS u
    SET email = coalesce(p_email, u.email),
        email_key = coalesce(p_email_key, u.email_key),
        email_verified_at = CASE WHEN NOT v_is_other THEN u.email_verified_at END,
        username = coalesce(p_username, u.username),
        profile_image = CASE WHEN p_has_image THEN p_profile_image ELSE u.profile_image END
    WHERE u.id = p_user_id AND (NOT v_is_other OR u.password_version = p_password_version)
    RETURNING u.email_key INTO v_email_key;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_is_other THEN
        DELETE FROM password_resets AS r WHERE r.user_id = p_user_id;
        PERFORM verification_ask(p_user_id, v_email_key, p_job_id, p_token_hash);
        PERFORM account_tell(p_user_id, 'address', v_old_email);
    END IF;
    RETURN QUERY
    SELECT u.id, u.email, u.username, u.is_premium, u.created_at, u.last_login, u.profile_image,
        u.email_verified_at IS NOT NULL
    FROM users AS u
    WHERE u.id = p_user_id;
END
$$;

-- Has a link mailed, by a job with the hash of its token, that resets the password of the account with an e-mail address. If there
-- is none, a job is written all the same, for nobody: that takes the same time.
CREATE FUNCTION password_forget(p_email_key text, p_job_id uuid, p_token_hash bytea)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_user_id uuid;
BEGIN
    SELECT u.id INTO v_user_id FROM users AS u WHERE u.email_key = p_email_key FOR KEY SHARE;
    INSERT INTO password_resets (user_id, token_hash, expires_at, email_key)
    SELECT v_user_id, p_token_hash, now() + interval '30 minutes', p_email_key
    WHERE v_user_id IS NOT NULL;
    PERFORM jobs_add(
        coalesce(v_user_id, p_job_id), 'mail', 'account', ARRAY[p_job_id], ARRAY[json_build_object('letter', 'reset')], ARRAY[0]
    );
END
$$;
