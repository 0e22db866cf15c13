-- The inbox. An inbox is named by the id of its user.

-- fragment: feedback
f.id, f.user_id, f.message, f.created_at, f.is_read, host(f.ip_address) AS ip_address, f.metadata, f.widget_id, f.cursor

-- fragment: wanted
f.user_id = $1
        AND f.id > $2
        AND f.id < $3
        AND f.deleted_at IS NULL

-- fragment: logged
n.id, n.user_id, n.message, n.created_at, n.is_read, n.ip_address, n.metadata, n.widget_id, n.cursor, n.created_cursor,
                -- These lengths are known without reading the texts, of which there may be megabytes.
                n.deleted_at, octet_length(n.message) + coalesce(pg_column_size(n.metadata), 0) AS bytes

-- fragment: measured
row_number() OVER log AS place,
            lead(l.cursor) OVER log IS NOT NULL AS has_more,
            sum(l.bytes) OVER (log ROWS UNBOUNDED PRECEDING) - l.bytes AS bytes_before

-- name: append
-- Stores a batch. Each inbox is named by its id ($1) or its owner's folded username ($2); its rows stand from $3 to $4 in the
-- parallel arrays, and $14 says whether it is left out if it is locked. Inboxes are locked in the order of their ids. If $13 is
-- true one hint tells all listeners of all inboxes. Returns one row an inbox, and none if there is no such inbox.
-- Ids and addresses come as text: the driver writes that in half the time.
WITH boxes AS MATERIALIZED (
    SELECT b.place, coalesce(b.user_id, u.id) AS user_id, b.low, b.high, b.is_left_out
    FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::integer[], $14::boolean[])
        WITH ORDINALITY AS b (user_id, username, low, high, is_left_out, place)
    LEFT JOIN users AS u ON lower(u.username COLLATE "C") = b.username
    WHERE b.user_id IS NOT NULL OR u.id IS NOT NULL
    ORDER BY 2
), appended AS MATERIALIZED (
    SELECT b.place, b.user_id, a.earlier_ids, a.new_cursor IS NULL AS is_locked
    FROM boxes AS b
    CROSS JOIN LATERAL inbox_append(
        b.user_id,
        ($5::text[])[b.low:b.high]::uuid[],
        ($6::timestamptz[])[b.low:b.high],
        ($7::text[])[b.low:b.high]::uuid[],
        ($8::text[])[b.low:b.high]::inet[],
        ($9::text[])[b.low:b.high],
        ($10::text[])[b.low:b.high]::json[],
        ($11::text[])[b.low:b.high],
        ($12::bytea[])[b.low:b.high],
        b.is_left_out
    ) AS a
), hints AS MATERIALIZED (
    -- 200 ids of 36 characters and a comma stay under the 8,000 bytes of a payload.
    SELECT pg_notify('fw_inbox', string_agg(n.user_id::text, ','))
    FROM (
        SELECT d.user_id, (row_number() OVER () - 1) / 200 AS part
        FROM (SELECT DISTINCT user_id FROM appended WHERE NOT is_locked) AS d
    ) AS n
    WHERE $13::boolean
    GROUP BY n.part
)
SELECT a.place, a.user_id, a.earlier_ids, a.is_locked
FROM appended AS a
WHERE (SELECT count(*) FROM hints) >= 0;

-- name: append_to_one
-- Stores a batch for one inbox, as most are: the same without slices of arrays. If $13 is true it waits longer for the inbox.
WITH appended AS MATERIALIZED (
    SELECT u.id AS user_id, a.earlier_ids, a.new_cursor IS NULL AS is_locked
    FROM (
        SELECT coalesce($1::uuid, (SELECT n.id FROM users AS n WHERE lower(n.username COLLATE "C") = $2::text)) AS id
    ) AS u
    CROSS JOIN LATERAL inbox_append(
        CASE WHEN $13::boolean THEN inbox_hold(u.id) ELSE u.id END,
        $3::text[]::uuid[], $4::timestamptz[], $5::text[]::uuid[], $6::text[]::inet[], $7::text[], $8::text[]::json[],
        $9::text[], $10::bytea[], $12::boolean
    ) AS a
)
SELECT 1 AS place, a.user_id, a.earlier_ids, a.is_locked,
    CASE WHEN $11::boolean AND NOT a.is_locked THEN pg_notify('fw_inbox', a.user_id::text) END AS hint
FROM appended AS a;

-- name: append_alone
-- Stores one row if nothing is special: the inbox is not locked, tells no webhook and sends no mail, has no later id, and the clock
-- that made the id is not ahead. `inbox_append` sees to all that, and takes twice the time. Returns no row if it stores none.
WITH held AS (
    SELECT i.user_id
    FROM inboxes AS i
    WHERE i.user_id = coalesce($1::uuid, (SELECT n.id FROM users AS n WHERE lower(n.username COLLATE "C") = $2::text))
        AND i.last_id < $3::text::uuid
        AND i.watch = 0
        AND $4::timestamptz <= clock_timestamp() + interval '1 minute'
    FOR NO KEY UPDATE SKIP LOCKED
), counted AS (
    UPDATE inboxes AS i
    SET cursor = i.cursor + 1, unread_count = i.unread_count + 1, total_count = i.total_count + 1, last_id = $3::text::uuid
    FROM held AS h
    WHERE i.user_id = h.user_id
    RETURNING i.user_id, i.cursor
)
INSERT INTO feedback (user_id, id, cursor, created_cursor, created_at, widget_id, ip_address, message, metadata)
SELECT c.user_id, $3::text::uuid, c.cursor, c.cursor, $4::timestamptz, $5::text::uuid, $6::text::inet, $7::text, $8::text::json
FROM counted AS c
RETURNING user_id, CASE WHEN $9::boolean THEN pg_notify('fw_inbox', user_id::text) END AS hint;

-- name: newest
-- A page of the inbox, newest first, with the state of the inbox in the same snapshot. The ids lie between $2 and $3.
SELECT i.cursor AS inbox_cursor, i.unread_count, i.total_count, l.*
FROM inboxes AS i
LEFT JOIN LATERAL (
    SELECT {feedback}
    FROM feedback AS f
    WHERE {wanted}
    ORDER BY f.user_id DESC, f.id DESC
    LIMIT $4
) AS l ON true
WHERE i.user_id = $1
ORDER BY l.id DESC;

-- name: oldest
-- The same, oldest first.
SELECT i.cursor AS inbox_cursor, i.unread_count, i.total_count, l.*
FROM inboxes AS i
LEFT JOIN LATERAL (
    SELECT {feedback}
    FROM feedback AS f
    WHERE {wanted}
    ORDER BY f.user_id, f.id
    LIMIT $4
) AS l ON true
WHERE i.user_id = $1
ORDER BY l.id;

-- name: newest_of_widget
-- A page of what came through a widget ($5), newest first.
SELECT i.cursor AS inbox_cursor, i.unread_count, i.total_count, l.*
FROM inboxes AS i
LEFT JOIN LATERAL (
    SELECT {feedback}
    FROM feedback AS f
    WHERE {wanted}
        AND f.widget_id = $5
    ORDER BY f.user_id DESC, f.widget_id DESC, f.id DESC
    LIMIT $4
) AS l ON true
WHERE i.user_id = $1
ORDER BY l.id DESC;

-- name: oldest_of_widget
-- The same, oldest first.
SELECT i.cursor AS inbox_cursor, i.unread_count, i.total_count, l.*
FROM inboxes AS i
LEFT JOIN LATERAL (
    SELECT {feedback}
    FROM feedback AS f
    WHERE {wanted}
        AND f.widget_id = $5
    ORDER BY f.user_id, f.widget_id, f.id
    LIMIT $4
) AS l ON true
WHERE i.user_id = $1
ORDER BY l.id;

-- name: search
-- The same as far as $9 seconds go, newest first if $8 is true: then stopped_at, in a row of its own, is the last id looked at.
SELECT l.inbox_cursor, l.unread_count, l.total_count, l.id, l.user_id, l.message, l.created_at, l.is_read, l.ip_address,
    l.metadata, l.widget_id, l.cursor, l.stopped_at
FROM inbox_find($1, $2, $3, $4, $5, $6, $7, $8, $9) AS l;

-- name: position
-- The cursor of an inbox, which moves with every change in it.
SELECT i.cursor
FROM inboxes AS i
WHERE i.user_id = $1;

-- name: one
-- One item of the inbox.
SELECT {feedback}
FROM feedback AS f
WHERE f.user_id = $1 AND f.id = $2 AND f.deleted_at IS NULL;

-- name: mark_one
-- Marks an item read or unread. No row if nothing changed.
SELECT {feedback}
FROM inbox_mark($1, ARRAY[$2::uuid], NULL, $3, 1) AS f;

-- name: mark_ids
-- Marks items by their ids as read or unread.
SELECT count(*) AS changed
FROM inbox_mark($1, $2, NULL, $3, 500);

-- name: mark_up_to
-- Marks items as read that arrived up to a cursor, at most $3.
SELECT count(*) AS changed
FROM inbox_mark($1, NULL, $2, true, $3);

-- name: delete
-- Deletes an item.
SELECT inbox_delete($1, $2) AS deleted;

-- name: delete_ids
-- Deletes items by their ids.
SELECT count(*) FILTER (WHERE inbox_delete($1, d.id)) AS changed
FROM unnest($2::uuid[]) AS d (id);

-- name: changes
-- The changes of inboxes ($1), each after its own cursor ($2), with the state of the inboxes in the same snapshot: of each
-- inbox at most $3 changes, and no further ones once they have $4 bytes. has_more tells whether there are later changes.
SELECT i.user_id AS inbox_id, i.cursor AS inbox_cursor, i.unread_count, i.horizon, c.*
FROM unnest($1::uuid[], $2::bigint[]) AS s (user_id, since)
JOIN inboxes AS i ON i.user_id = s.user_id
LEFT JOIN LATERAL (
    SELECT {feedback}, f.created_cursor, f.deleted_at, f.has_more
    FROM (
        SELECT l.*, {measured}
        FROM (
            SELECT {logged}
            FROM feedback AS n
            WHERE n.user_id = s.user_id AND n.cursor > s.since
            ORDER BY n.cursor
            LIMIT $3::integer + 1
        ) AS l
        WINDOW log AS (ORDER BY l.cursor)
    ) AS f
    WHERE f.place <= $3::integer AND f.bytes_before < $4::bigint
) AS c ON true
ORDER BY i.user_id, c.cursor;

-- name: changes_of_one
-- The same of one inbox ($1).
SELECT i.user_id AS inbox_id, i.cursor AS inbox_cursor, i.unread_count, i.horizon, c.*
FROM inboxes AS i
LEFT JOIN LATERAL (
    SELECT {feedback}, f.created_cursor, f.deleted_at, f.has_more
    FROM (
        SELECT l.*, {measured}
        FROM (
            SELECT {logged}
            FROM feedback AS n
            WHERE n.user_id = $1 AND n.cursor > $2
            ORDER BY n.cursor
            LIMIT $3::integer + 1
        ) AS l
        WINDOW log AS (ORDER BY l.cursor)
    ) AS f
    WHERE f.place <= $3::integer AND f.bytes_before < $4::bigint
) AS c ON true
WHERE i.user_id = $1
ORDER BY c.cursor;

-- name: append_near
-- Stores a batch for inboxes ($2, found by the folded usernames $3 if these are not null) that are on the machine of one of them
-- ($1), where data is spread over several. Their rows stand from $4 to $5 in the parallel arrays; $6 says which inboxes are left
-- out if they are locked; if $7 is true it waits longer for them.
SELECT a.place, a.user_id, a.earlier_ids, a.is_locked, a.is_renamed, a.is_watched
FROM inboxes_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) AS a;
