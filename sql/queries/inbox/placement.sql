-- Where inboxes are, if they are spread over machines by Citus.

-- name: named
-- Finds the accounts of folded usernames ($1).
SELECT u.id AS user_id, lower(u.username COLLATE "C") AS username
FROM users AS u
WHERE lower(u.username COLLATE "C") = ANY ($1::text[]);

-- name: shards
-- Tells in which part of the tables the inboxes of these users ($1) are. That stays so.
SELECT u.id AS user_id, get_shard_id_for_distribution_column('inboxes', u.id) AS shard
FROM unnest($1::uuid[]) AS u (id);

-- name: nodes
-- Tells which machine has each part. That changes when parts are moved.
SELECT p.shardid AS shard, p.groupid AS node
FROM pg_dist_shard AS s
JOIN pg_dist_placement AS p ON p.shardid = s.shardid
WHERE s.logicalrelid = 'inboxes'::regclass AND p.shardstate = 1;
