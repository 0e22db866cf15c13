-- The table of all peers, with the index that their lists are read by. No foreign key: the service has none either.

CREATE TABLE users (
    id uuid PRIMARY KEY,
    username text NOT NULL UNIQUE
);

CREATE TABLE feedback (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    message text NOT NULL,
    created_at timestamptz NOT NULL,
    is_read boolean NOT NULL DEFAULT false,
    ip_address inet,
    metadata jsonb,
    PRIMARY KEY (id)
);

CREATE INDEX feedback_newest_key ON feedback (user_id, created_at);
