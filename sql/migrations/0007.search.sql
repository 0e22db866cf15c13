-- depends: 0006.readers
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
