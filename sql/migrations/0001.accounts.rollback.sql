DROP FUNCTION attempts_count (text[], integer[]);
DROP TABLE attempts;
DROP TABLE password_resets;
DROP TABLE service_tokens;
DROP TABLE sessions;
DROP TABLE users;
