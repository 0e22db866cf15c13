DROP FUNCTION inbox_search (uuid, uuid, uuid, boolean, uuid, text, integer, boolean, double precision);
