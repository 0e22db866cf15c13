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
CREATE OR REPLACE FUNCTION inbox_mark(p_user_id uuid, p_ids uuid[], p_up_to bigint, p_is_read boolean, p_most integer)
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
CREATE OR REPLACE FUNCTION inbox_delete(p_user_id uuid, p_id uuid)
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

-- Deletes an account with everything that belongs to it. Returns false if there is no such account.
CREATE OR REPLACE FUNCTION account_delete(p_user_id uuid)
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

DROP FUNCTION webhook_resend (uuid, uuid, uuid, timestamptz, uuid, integer);
DROP FUNCTION webhook_ping (uuid, uuid);
DROP FUNCTION webhook_queue (uuid, uuid, uuid[], boolean);
DROP FUNCTION webhook_turn_off (uuid, uuid, text);
DROP FUNCTION webhook_delete (uuid, uuid);
DROP FUNCTION webhook_update (uuid, uuid, text, text[], boolean, text, boolean);
DROP FUNCTION webhook_withdraw (uuid, uuid);
DROP FUNCTION webhook_create (uuid, uuid, timestamptz, text, text[], text, text, integer);
DROP FUNCTION account_tell (uuid, text, text);
DROP FUNCTION verification_ask (uuid, text, uuid, bytea);
DROP FUNCTION notifications_set (uuid, text, text);
DROP FUNCTION digest_end (uuid, uuid, bigint);
DROP FUNCTION inbox_watch (uuid);
DROP FUNCTION inbox_tell (uuid, smallint, text, bigint);
DROP FUNCTION digest_add (uuid);
DROP FUNCTION id_new ();
DROP FUNCTION lane_release (uuid, text, text, uuid, double precision);
DROP FUNCTION jobs_add (uuid, text, text, uuid[], json[], bigint[]);
ALTER TABLE inboxes DROP COLUMN watch;
DROP TABLE email_verifications;
DROP TABLE notifications;
DROP TABLE deliveries;
DROP TABLE webhooks;
DROP TABLE jobs;
DROP TABLE lanes;
