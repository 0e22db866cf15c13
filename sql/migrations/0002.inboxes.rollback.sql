DROP FUNCTION account_delete (uuid);
DROP FUNCTION inbox_forget (uuid, timestamptz, integer);
DROP FUNCTION inbox_delete (uuid, uuid);
DROP FUNCTION inbox_mark (uuid, uuid[], bigint, boolean, integer);
DROP FUNCTION inbox_append (uuid, uuid[], timestamptz[], uuid[], inet[], text[], json[], text[], bytea[]);
DROP TABLE idempotency;
DROP TABLE feedback;
DROP TABLE inboxes;
