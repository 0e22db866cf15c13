ALTER FUNCTION account_delete (uuid) RESET lock_timeout;
ALTER FUNCTION inbox_forget (uuid, timestamptz, integer) RESET lock_timeout;
ALTER FUNCTION inbox_delete (uuid, uuid) RESET lock_timeout;
ALTER FUNCTION inbox_mark (uuid, uuid[], bigint, boolean, integer) RESET lock_timeout;
DROP FUNCTION inbox_append (uuid, uuid[], timestamptz[], uuid[], inet[], text[], json[], text[], bytea[], boolean);
DROP FUNCTION ids_after (uuid, uuid[]);
DROP FUNCTION id_at (uuid, bigint);
DROP FUNCTION id_time (uuid);
ALTER TABLE inboxes DROP COLUMN last_id;

-- Appends rows to one inbox. The arrays are parallel, with one element a row; p_keys is null if no row has an idempotency key.
-- Returns no row if there is no such inbox; else the cursor after the change and, if keys were given, an array with one element
-- a row: the id of the earlier row with the same key and body, the nil id if that key came with another body, or null.
CREATE FUNCTION inbox_append(
    p_user_id uuid,
    p_ids uuid[],
    p_created_at timestamptz[],
    p_widget_ids uuid[],
    p_addresses inet[],
    p_messages text[],
    p_metadata json[],
    p_keys text[],
    p_hashes bytea[]
)
RETURNS TABLE (new_cursor bigint, earlier_ids uuid[])
LANGUAGE plpgsql
AS $$
DECLARE
    v_count integer := cardinality(p_ids);
    v_earlier uuid[];
    -- The places of the rows that are new, among themselves; null where all are.
    v_places integer[];
    v_hash bytea;
    v_id uuid;
    v_cursor bigint;
BEGIN
    IF p_keys IS NOT NULL THEN
        -- The lock comes first: whoever holds it sees every key that was committed before.
        PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        v_earlier := array_fill(NULL::uuid, ARRAY[v_count]);
        v_places := array_fill(NULL::integer, ARRAY[v_count]);
        v_count := 0;
        FOR n IN 1 .. cardinality(p_ids) LOOP
            IF p_keys[n] IS NOT NULL THEN
                INSERT INTO idempotency AS k (user_id, key, body_hash, feedback_id)
                VALUES (p_user_id, p_keys[n], p_hashes[n], p_ids[n])
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
    SET cursor = i.cursor + v_count, unread_count = i.unread_count + v_count, total_count = i.total_count + v_count
    WHERE i.user_id = p_user_id
    RETURNING i.cursor INTO v_cursor;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    INSERT INTO feedback (user_id, id, cursor, created_cursor, created_at, widget_id, ip_address, message, metadata)
    SELECT p_user_id, r.id, v_cursor - v_count + r.place, v_cursor - v_count + r.place,
        r.created_at, r.widget_id, r.address, r.message, r.metadata
    FROM (
        SELECT u.*, CASE WHEN v_places IS NULL THEN u.n ELSE v_places[u.n] END AS place
        FROM unnest(p_ids, p_created_at, p_widget_ids, p_addresses, p_messages, p_metadata)
            WITH ORDINALITY AS u (id, created_at, widget_id, address, message, metadata, n)
    ) AS r
    WHERE r.place IS NOT NULL;
    new_cursor := v_cursor;
    earlier_ids := v_earlier;
    RETURN NEXT;
END
$$;
