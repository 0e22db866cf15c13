-- depends: 0002.inboxes
-- Widgets, and the counters of what is recorded nowhere else.

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

-- Views and opens in quarters of an hour (UTC): every offset of today's time zones is a whole number of them,
-- so a day of any zone is a sum of rows.
CREATE TABLE widget_events (
    user_id uuid NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    widget_id uuid NOT NULL,
    quarter timestamptz NOT NULL,
    views bigint NOT NULL DEFAULT 0,
    opens bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (user_id, widget_id, quarter)
) WITH (fillfactor = 70);

-- Makes a widget unless its owner already has as many as p_free or, on premium, p_premium. The lock on the owner makes
-- racers count one after the other. Answers no row where the limit is reached.
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
