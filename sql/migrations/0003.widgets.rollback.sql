DROP FUNCTION widget_create (uuid, uuid, timestamptz, text, text, text, jsonb, boolean, integer, integer);
DROP TABLE widget_events;
DROP TABLE widgets;
