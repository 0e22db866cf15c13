-- depends: 0008.outbox

-- What waits for a webhook grows no more with every change of an item, nor with every ping.

ALTER TABLE jobs ADD COLUMN subject uuid;

CREATE INDEX jobs_subject_key ON jobs (user_id, key, subject) WHERE subject IS NOT NULL;

DROP FUNCTION jobs_add (uuid, text, text, uuid[], json[], bigint[]);

-- Writes jobs, one for each id, with the lane that they are in; p_subjects is null if they have none.
CREATE FUNCTION jobs_add(
    p_user_id uuid, p_kind text, p_key text, p_ids uuid[], p_payloads json[], p_places bigint[], p_subjects uuid[] DEFAULT NULL
)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    -- Not now(), the time at which the transaction began: of two that wait for one inbox, the later one may get it first.
    v_now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO jobs (user_id, id, kind, key, payload, due, place, subject)
    SELECT p_user_id, u.id, p_kind, p_key, u.payload, v_now, u.place, u.subject
    FROM unnest(p_ids, p_payloads, p_places, p_subjects) AS u (id, payload, place, subject)
    ON CONFLICT (user_id, id) DO NOTHING;
    -- After the jobs: whoever drops a lane holds its lock, and looks for jobs under it.
    INSERT INTO lanes AS l (user_id, kind, key, due)
    VALUES (p_user_id, p_kind, p_key, v_now)
    ON CONFLICT (user_id, kind, key) DO UPDATE
    SET due = least(l.due, greatest(excluded.due, l.paused_until));
    PERFORM pg_notify('fw_outbox', p_kind);
END
$$;

-- Tells webhooks and mail of the changes of an inbox after a cursor, all of which are of one type. Called under the inbox's lock.
-- Several updates of an item are one delivery as long as that waits to be sent: what is sent is read then.
CREATE OR REPLACE FUNCTION inbox_tell(p_user_id uuid, p_watch smallint, p_type text, p_after bigint)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_bit smallint := CASE p_type WHEN 'feedback.created' THEN 1 WHEN 'feedback.updated' THEN 2 ELSE 4 END;
    v_mail text;
    v_feedback uuid[];
    v_cursors bigint[];
    v_ids uuid[];
    v_webhook uuid;
    v_told uuid[];
    v_places bigint[];
BEGIN
    SELECT array_agg(f.id ORDER BY f.cursor), array_agg(f.cursor ORDER BY f.cursor) INTO v_feedback, v_cursors
    FROM feedback AS f
    WHERE f.user_id = p_user_id AND f.cursor > p_after;
    IF v_feedback IS NULL THEN
        RETURN;
    END IF;
    IF p_watch & v_bit <> 0 THEN
        FOR v_webhook IN
            SELECT w.id FROM webhooks AS w
            WHERE w.user_id = p_user_id AND w.is_active AND p_type = ANY (w.events)
            ORDER BY w.id
        LOOP
            v_told := v_feedback;
            v_places := v_cursors;
            IF p_type = 'feedback.updated' THEN
                -- Whoever begins a job locks its lane: under this lock, one without an attempt has not been read.
                PERFORM FROM lanes AS l
                WHERE l.user_id = p_user_id AND l.kind = 'webhook' AND l.key = v_webhook::text
                FOR UPDATE;
                IF FOUND THEN
                    SELECT array_agg(u.id ORDER BY u.cursor), array_agg(u.cursor ORDER BY u.cursor) INTO v_told, v_places
                    FROM unnest(v_feedback, v_cursors) AS u (id, cursor)
                    WHERE NOT EXISTS (
                        SELECT FROM jobs AS j
                        WHERE j.user_id = p_user_id AND j.key = v_webhook::text AND j.subject = u.id AND j.attempts = 0
                    );
                    CONTINUE WHEN v_told IS NULL;
                END IF;
            END IF;
            v_ids := ARRAY(SELECT id_new() FROM unnest(v_told));
            INSERT INTO deliveries (user_id, webhook_id, id, type, feedback_id, next_attempt_at)
            SELECT p_user_id, v_webhook, u.id, p_type, u.feedback_id, now()
            FROM unnest(v_ids, v_told) AS u (id, feedback_id);
            PERFORM jobs_add(
                p_user_id, 'webhook', v_webhook::text, v_ids, array_fill('{}'::json, ARRAY[cardinality(v_ids)]), v_places,
                CASE p_type WHEN 'feedback.updated' THEN v_told END
            );
        END LOOP;
    END IF;
    IF p_watch & 8 <> 0 AND p_type = 'feedback.created' THEN
        SELECT n.mail INTO v_mail FROM notifications AS n WHERE n.user_id = p_user_id;
        IF v_mail = 'each' THEN
            PERFORM jobs_add(
                p_user_id, 'mail', 'feedback', v_feedback,
                ARRAY(SELECT json_build_object('letter', 'feedback') FROM unnest(v_feedback)), v_cursors
            );
        ELSE
            PERFORM digest_add(p_user_id);
        END IF;
    END IF;
END
$$;

-- Queues deliveries of a webhook, in the order of their ids, and has the next one sent now, whether its lane pauses or not. Those
-- with a job that waits begin anew. If p_is_first is set they are sent before whatever else waits.
CREATE OR REPLACE FUNCTION webhook_queue(p_user_id uuid, p_id uuid, p_delivery_ids uuid[], p_is_first boolean)
RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    v_due timestamptz := clock_timestamp();
BEGIN
    -- The lane is locked before its jobs, as by whoever works on it.
    PERFORM FROM lanes AS l WHERE l.user_id = p_user_id AND l.kind = 'webhook' AND l.key = p_id::text FOR UPDATE;
    IF p_is_first THEN
        SELECT least(v_due, min(j.due) - interval '1 millisecond') INTO v_due
        FROM jobs AS j
        WHERE j.user_id = p_user_id AND j.kind = 'webhook' AND j.key = p_id::text;
    END IF;
    PERFORM jobs_add(
        p_user_id, 'webhook', p_id::text, ARRAY(SELECT u.id FROM unnest(p_delivery_ids) AS u (id) ORDER BY u.id),
        array_fill('{}'::json, ARRAY[cardinality(p_delivery_ids)]),
        ARRAY(SELECT generate_series(1, cardinality(p_delivery_ids))::bigint)
    );
    -- One of them may be under way: without a subject, nothing that happens now is taken for a part of it.
    UPDATE jobs AS j
    SET due = v_due, attempts = 0, subject = NULL
    WHERE j.user_id = p_user_id AND j.id = ANY (p_delivery_ids);
    UPDATE lanes AS l
    SET due = v_due, paused_until = NULL
    WHERE l.user_id = p_user_id AND l.kind = 'webhook' AND l.key = p_id::text;
END
$$;

-- Writes a delivery of the type ping, to be sent once; if ten wait already, the first of them is sent now. Returns false if there
-- is no such webhook.
CREATE OR REPLACE FUNCTION webhook_ping(p_user_id uuid, p_id uuid)
RETURNS boolean
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
DECLARE
    v_waiting uuid[];
    v_delivery_id uuid := id_new();
BEGIN
    -- This keeps it from being deleted meanwhile.
    PERFORM FROM webhooks AS w WHERE w.user_id = p_user_id AND w.id = p_id FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM FROM lanes AS l WHERE l.user_id = p_user_id AND l.kind = 'webhook' AND l.key = p_id::text FOR UPDATE;
    -- The subject of a ping is its webhook.
    v_waiting := ARRAY(
        SELECT j.id FROM jobs AS j
        WHERE j.user_id = p_user_id AND j.key = p_id::text AND j.subject = p_id AND j.attempts = 0
        ORDER BY j.id
        LIMIT 10
    );
    IF cardinality(v_waiting) = 10 THEN
        v_delivery_id := v_waiting[1];
    ELSE
        INSERT INTO deliveries (user_id, webhook_id, id, type, next_attempt_at)
        VALUES (p_user_id, p_id, v_delivery_id, 'ping', now());
    END IF;
    PERFORM webhook_queue(p_user_id, p_id, ARRAY[v_delivery_id], true);
    UPDATE jobs AS j
    SET subject = p_id
    WHERE j.user_id = p_user_id AND j.id = v_delivery_id;
    RETURN true;
END
$$;

-- Takes back what waits to be sent to a webhook. Called under the inbox's lock, so that nothing is added meanwhile. Of what has
-- not been tried the last thousand deliveries stay in the list: turning a webhook off and on is not to fill it.
CREATE OR REPLACE FUNCTION webhook_withdraw(p_user_id uuid, p_id uuid)
RETURNS void
LANGUAGE plpgsql
AS $$
BEGIN
    -- The lane goes first: whoever works on it locks it first, too.
    DELETE FROM lanes AS l WHERE l.user_id = p_user_id AND l.kind = 'webhook' AND l.key = p_id::text;
    WITH gone AS (
        DELETE FROM jobs AS j
        WHERE j.user_id = p_user_id AND j.kind = 'webhook' AND j.key = p_id::text
        RETURNING j.id
    ), numbered AS (
        SELECT g.id, row_number() OVER (ORDER BY g.id DESC) AS place FROM gone AS g
    ), dropped AS (
        DELETE FROM deliveries AS d
        USING numbered AS g
        WHERE d.user_id = p_user_id AND d.webhook_id = p_id AND d.id = g.id AND d.attempts = 0 AND g.place > 1000
    )
    UPDATE deliveries AS d
    SET next_attempt_at = NULL, error = coalesce(d.error, 'the webhook was turned off')
    FROM numbered AS g
    WHERE d.user_id = p_user_id AND d.webhook_id = p_id AND d.id = g.id AND (d.attempts > 0 OR g.place <= 1000);
END
$$;

-- Turns a webhook off that does not work, takes back what waits to be sent, and has its owner told by mail, of all webhooks five
-- times a day at most. Returns false if it is not on.
CREATE OR REPLACE FUNCTION webhook_turn_off(p_user_id uuid, p_id uuid, p_reason text)
RETURNS boolean
LANGUAGE plpgsql
SET lock_timeout = '2s'
AS $$
BEGIN
    PERFORM FROM inboxes AS i WHERE i.user_id = p_user_id FOR UPDATE;
    UPDATE webhooks AS w
    SET is_active = false, disabled_reason = p_reason
    WHERE w.user_id = p_user_id AND w.id = p_id AND w.is_active;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM webhook_withdraw(p_user_id, p_id);
    PERFORM inbox_watch(p_user_id);
    IF (
        SELECT c.attempts <= 5
        FROM attempts_count(ARRAY['webhook-mail:' || encode(sha256(uuid_send(p_user_id)), 'hex')], ARRAY[86400]) AS c
    ) THEN
        PERFORM jobs_add(
            p_user_id, 'mail', 'account', ARRAY[id_new()],
            ARRAY[json_build_object('letter', 'webhook', 'webhook_id', p_id)], ARRAY[0]
        );
    END IF;
    RETURN true;
END
$$;
