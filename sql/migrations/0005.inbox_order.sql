-- depends: 0004.passwords
-- The order of a list is that in which its feedback was stored, even if the clocks of hosts differ; and no change waits long
-- for the lock on an inbox.

-- The highest id that any item has had; the nil id, which is below all others, if there were none.
ALTER TABLE inboxes ADD COLUMN last_id uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';

UPDATE inboxes AS i
SET last_id = l.id
FROM (
    SELECT n.user_id, (SELECT f.id FROM feedback AS f WHERE f.user_id = n.user_id ORDER BY f.id DESC LIMIT 1) AS id
    FROM inboxes AS n
) AS l
WHERE i.user_id = l.user_id AND l.id IS NOT NULL;

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

DROP FUNCTION inbox_append (uuid, uuid[], timestamptz[], uuid[], inet[], text[], json[], text[], bytea[]);

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

-- A statement that waits for a locked inbox holds a connection, so its wait is bounded.
ALTER FUNCTION inbox_mark (uuid, uuid[], bigint, boolean, integer) SET lock_timeout = '2s';
ALTER FUNCTION inbox_delete (uuid, uuid) SET lock_timeout = '2s';
ALTER FUNCTION inbox_forget (uuid, timestamptz, integer) SET lock_timeout = '2s';
ALTER FUNCTION account_delete (uuid) SET lock_timeout = '2s';
