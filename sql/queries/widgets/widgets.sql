-- Widgets and what happens to them.

-- fragment: widget
w.id, w.user_id, w.name, w.type, w.theme, w.settings, w.is_active, w.created_at

-- name: list
-- A page of an owner's widgets, newest first; their ids are below $2.
SELECT {widget}
FROM widgets AS w
WHERE w.user_id = $1 AND w.id < $2
ORDER BY w.id DESC
LIMIT $3;

-- name: create
-- Makes a widget within the owner's limit ($9 free, $10 premium). No row if the limit is reached.
SELECT {widget}
FROM widget_create($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9, $10) AS w;

-- name: one
-- A widget, for its owner.
SELECT {widget}
FROM widgets AS w
WHERE w.user_id = $1 AND w.id = $2;

-- name: update
-- Changes the given fields; settings are replaced as a whole.
UPDATE widgets AS w
SET name = coalesce($3, w.name),
    type = coalesce($4, w.type),
    theme = coalesce($5, w.theme),
    settings = coalesce($6::text::jsonb, w.settings),
    is_active = coalesce($7, w.is_active)
WHERE w.user_id = $1 AND w.id = $2
RETURNING {widget};

-- name: delete
-- Deletes a widget and its counters; its feedback stays.
WITH gone AS (
    DELETE FROM widgets
    WHERE user_id = $1 AND id = $2
    RETURNING user_id, id
), counters AS (
    DELETE FROM widget_events AS e
    USING gone AS g
    WHERE e.user_id = g.user_id AND e.widget_id = g.id
)
SELECT g.id FROM gone AS g;

-- name: public
-- An active widget, with what its public calls need to know.
SELECT w.id, w.user_id, u.username, w.type, w.theme, w.settings,
    CASE WHEN jsonb_array_length(w.settings -> 'allowed_origins') > 0
        THEN ARRAY(SELECT jsonb_array_elements_text(w.settings -> 'allowed_origins')) END AS allowed_origins
FROM widgets AS w
JOIN users AS u ON u.id = w.user_id
WHERE w.id = $1 AND w.is_active;

-- name: owned
-- What the statistics need to know of a widget.
SELECT w.id, w.type, u.is_premium
FROM widgets AS w
JOIN users AS u ON u.id = w.user_id
WHERE w.user_id = $1 AND w.id = $2;

-- name: count_events
-- Adds to the counters, which are locked in the order of their keys. Events of deleted widgets are left out.
WITH known AS MATERIALIZED (
    -- Locked, since an owner who is deleted meanwhile would make the whole statement fail.
    SELECT w.user_id, w.id
    FROM widgets AS w
    JOIN users AS u ON u.id = w.user_id
    WHERE w.id = ANY ($1::uuid[])
    ORDER BY w.user_id
    FOR KEY SHARE OF u
)
INSERT INTO widget_events AS e (user_id, widget_id, quarter, views, opens)
SELECT w.user_id, w.id, c.quarter, c.views, c.opens
FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::bigint[]) AS c (widget_id, quarter, views, opens)
JOIN known AS w ON w.id = c.widget_id
ORDER BY w.user_id, w.id, c.quarter
ON CONFLICT (user_id, widget_id, quarter) DO UPDATE
SET views = e.views + excluded.views, opens = e.opens + excluded.opens;

-- name: daily
-- The numbers of a widget, day by day. $3 has the moments at which the days begin, and at last the end of the last day; the ids
-- between $4 and $5 are those of the same time. place is the place of a day in $3; days without any events are left out.
SELECT d.place, sum(d.views)::bigint AS views, sum(d.opens)::bigint AS opens, sum(d.submissions)::bigint AS submissions
FROM (
    SELECT width_bucket(e.quarter, $3::timestamptz[]) AS place, e.views, e.opens, 0 AS submissions
    FROM widget_events AS e
    WHERE e.user_id = $1
        AND e.widget_id = $2
        AND e.quarter >= ($3::timestamptz[])[1]
        AND e.quarter < ($3::timestamptz[])[cardinality($3)]
    UNION ALL
    SELECT width_bucket(f.created_at, $3::timestamptz[]), 0, 0, 1
    FROM feedback AS f
    WHERE f.user_id = $1 AND f.widget_id = $2 AND f.id > $4 AND f.id < $5 AND f.deleted_at IS NULL
) AS d
GROUP BY d.place;

-- name: ratings
-- How often each rating, to the tenth, was given through a widget in a range of ids, and the sum of those ratings: anyone may send
-- ratings of many digits, of which there are any number. Older releases stored ratings that are no numbers or out of bounds;
-- these do not count.
SELECT round(r.rating::text::numeric, 1) AS rating, count(*) AS count, sum(r.rating::text::numeric)::double precision AS sum
FROM (
    SELECT f.metadata -> 'rating' AS rating
    FROM feedback AS f
    WHERE f.user_id = $1 AND f.widget_id = $2 AND f.id > $3 AND f.id < $4 AND f.deleted_at IS NULL
    -- Else the metadata would be parsed at each use of the rating.
    OFFSET 0
) AS r
WHERE CASE json_typeof(r.rating) WHEN 'number' THEN r.rating::text::numeric BETWEEN 0 AND 10 END
GROUP BY 1
ORDER BY 1 DESC;
