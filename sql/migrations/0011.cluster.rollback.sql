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
    RETURNING i.cursor, i.last_id, i.watch INTO v_cursor, v_last, v_watch;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_last <> v_ids[cardinality(v_ids)] THEN
        v_ids := ids_after(v_last, v_own);
        UPDATE inboxes AS i SET last_id = v_ids[cardinality(v_ids)] WHERE i.user_id = p_user_id;
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

DROP FUNCTION inboxes_append (uuid, uuid[], text[], integer[], integer[], boolean[], boolean, text[], timestamptz[], text[], text[], text[], text[], text[], bytea[]);

DROP FUNCTION webhook_create (uuid, uuid, timestamptz, text, text[], text, text, integer);

-- Makes a webhook, unless the account has p_most of them: then it returns no row.
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
RETURNS SETOF webhooks
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
BEGIN
    PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    IF (SELECT count(*) FROM webhooks AS w WHERE w.user_id = p_user_id) >= p_most THEN
        RETURN;
    END IF;
    RETURN QUERY
    INSERT INTO webhooks (user_id, id, url, events, description, is_active, created_at, secret)
    VALUES (p_user_id, p_id, p_url, p_events, p_description, true, p_created_at, p_secret)
    RETURNING *;
    PERFORM inbox_watch(p_user_id);
END
$$;

DROP FUNCTION webhook_update (uuid, uuid, text, text[], boolean, text, boolean);

-- Changes the given fields of a webhook; the description, which may be null, if p_has_description says so. To turn it on, or to
-- give it another address, is to begin anew: what failed before does not count.
CREATE FUNCTION webhook_update(
    p_user_id uuid, p_id uuid, p_url text, p_events text[], p_has_description boolean, p_description text, p_is_active boolean
)
RETURNS SETOF webhooks
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
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
    RETURNING w.*;
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

DROP FUNCTION inbox_find (uuid, uuid, uuid, boolean, uuid, text, integer, boolean, double precision);

DROP FUNCTION account_end (uuid, integer);

DROP FUNCTION profile_update (uuid, text, text, text, boolean, text, integer, uuid, bytea);

DROP FUNCTION password_forget (text, uuid, bytea);

DROP FUNCTION verification_repeat (uuid, uuid, bytea);

DROP FUNCTION notifications_off (uuid);

DROP FUNCTION purge_tombstones (integer);
