-- depends: 0010.mends

-- The same statements for one PostgreSQL, and for tables that Citus spreads over several machines.

-- Appends rows to one inbox. The arrays are parallel, with one element a row, and the ids ascend; p_keys is null if no row has
-- an idempotency key. A row whose id is not above all ids in the inbox gets a later one.
-- Returns no row if there is no such inbox, and a null cursor if the inbox is locked and p_skip_locked is set. Else it returns
-- the cursor after the change and, if any row is not stored under its own id, an array with one element a row: the id of the
-- earlier row with the same key and body; a later id than its own; the nil id if that key came with another body; or null if
-- the row is stored under its own id.
CREATE OR REPLACE FUNCTION inbox_append(
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
            RETURN QUERY SELECT NULL::bigint, NULL::uuid[] FROM inboxes AS i WHERE i.user_id = p_user_id;
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

    INSERT INTO feedback (user_id, id, cursor, created_cursor, created_at, widget_id, ip_address, message, metadata)
    SELECT p_user_id, r.id, v_cursor - v_count + r.place, v_cursor - v_count + r.place,
        r.created_at, r.widget_id, r.address, r.message, r.metadata
    FROM (
        SELECT u.*, CASE WHEN v_places IS NULL THEN u.n ELSE v_places[u.n] END AS place
        FROM unnest(v_ids, v_created_at, p_widget_ids, p_addresses, p_messages, p_metadata)
            WITH ORDINALITY AS u (id, created_at, widget_id, address, message, metadata, n)
    ) AS r
    WHERE r.place IS NOT NULL;
    IF v_watch <> 0 THEN
        PERFORM inbox_tell(p_user_id, v_watch, 'feedback.created', v_cursor - v_count);
    END IF;
    new_cursor := v_cursor;
    earlier_ids := v_earlier;
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
BEGIN
    FOR n IN 1 .. cardinality(p_user_ids) LOOP
        place := n;
        user_id := p_user_ids[n];
        v_low := p_lows[n];
        v_high := p_highs[n];
        is_renamed := p_usernames[n] IS NOT NULL AND NOT EXISTS (
            SELECT FROM users AS u WHERE u.id = p_user_ids[n] AND lower(u.username COLLATE "C") = p_usernames[n]
        );
        IF is_renamed THEN
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF p_is_patient THEN
            PERFORM inbox_hold(p_user_ids[n]);
        END IF;
        SELECT a.earlier_ids, a.new_cursor INTO earlier_ids, v_cursor
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
            is_watched := EXISTS (SELECT FROM inboxes AS i WHERE i.user_id = p_user_ids[n] AND i.watch <> 0);
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;

DROP FUNCTION webhook_create (uuid, uuid, timestamptz, text, text[], text, text, integer);

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

DROP FUNCTION webhook_update (uuid, uuid, text, text[], boolean, text, boolean);

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
