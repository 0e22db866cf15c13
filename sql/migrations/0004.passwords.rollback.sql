DROP FUNCTION password_reset (bytea, text);
DROP FUNCTION password_change (uuid, integer, text, uuid);
DROP INDEX users_cost_key;
ALTER TABLE users DROP COLUMN password_version;
ALTER TABLE password_resets DROP COLUMN email_key;
