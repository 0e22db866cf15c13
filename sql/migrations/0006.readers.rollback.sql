DROP FUNCTION readers_take (uuid, uuid, integer);
DROP TABLE reader_places;
DROP TABLE reader_processes;
