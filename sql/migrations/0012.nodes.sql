-- depends: 0011.cluster

-- On a cluster a lone row costs half as much, verifying an address changes every copy of the account, and a
-- reset of its password does not end in a deadlock with logins.

DROP FUNCTION inbox_append (uuid, uuid[], timestamptz[], uuid[], inet[], text[], json[], text[], bytea[], boolean);

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
CREATE OR REPLACE FUNCTION inboxes_append(
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

-- Uses a reset token once: sets the password, and ends all sessions. Returns the id of its user, or null if it is not valid.
CREATE OR REPLACE FUNCTION password_reset(p_token_hash bytea, p_hashed_password text)
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
