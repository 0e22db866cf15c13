-- depends: 0005.inbox_order
-- Places of readers (live sockets, waiting polls), leased by processes. Unlogged: after a crash the processes write them anew.

CREATE UNLOGGED TABLE reader_processes (
    id uuid PRIMARY KEY,
    seen_at timestamptz NOT NULL
);

CREATE UNLOGGED TABLE reader_places (
    user_id uuid NOT NULL,
    process_id uuid NOT NULL,
    places integer NOT NULL,
    PRIMARY KEY (user_id, process_id)
) WITH (fillfactor = 70);

-- Leases one more place of a user to a process, unless p_most are leased to live processes. Returns whether it did.
CREATE FUNCTION readers_take(p_user_id uuid, p_process_id uuid, p_most integer)
RETURNS boolean
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
BEGIN
    -- One call a user at a time. The next statement has a snapshot from after the lock, so it counts all leases.
    PERFORM pg_advisory_xact_lock(hashtextextended(p_user_id::text, 7236837236));
    IF (
        SELECT coalesce(sum(r.places), 0)
        FROM reader_places AS r
        JOIN reader_processes AS p ON p.id = r.process_id
        WHERE r.user_id = p_user_id AND p.seen_at > now() - interval '20 seconds'
    ) >= p_most THEN
        RETURN false;
    END IF;
    INSERT INTO reader_places AS r (user_id, process_id, places)
    VALUES (p_user_id, p_process_id, 1)
    ON CONFLICT (user_id, process_id) DO UPDATE
    SET places = r.places + 1;
    RETURN true;
END
$$;
