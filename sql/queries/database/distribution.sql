-- Citus: which tables are spread over which nodes, and the steps that spread them.

-- name: is_possible
-- Tells whether the extension citus is in this database.
SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL AS is_possible;

-- name: is_spread
-- Tells whether the inboxes are spread.
SELECT EXISTS (SELECT FROM pg_dist_partition WHERE logicalrelid = to_regclass('inboxes')) AS is_spread;

-- name: tables
-- Lists the tables that are spread by a column or copied to every node, and the bytes of the rows that they had before:
-- those are still with the coordinator, where nobody reads them.
SELECT c.relname, CASE WHEN pg_relation_size(c.oid) > 0 THEN pg_total_relation_size(c.oid) ELSE 0 END AS bytes_left
FROM pg_dist_partition AS p
JOIN pg_class AS c ON c.oid = p.logicalrelid
WHERE c.relnamespace = current_schema()::regnamespace AND (p.partmethod = 'h' OR p.repmodel = 't');

-- name: existing
-- Lists those of some tables ($1) that there are.
SELECT t.name
FROM unnest($1::text[]) AS t (name)
WHERE to_regclass(t.name) IS NOT NULL;

-- name: functions
-- Lists the functions that a node runs as a whole.
SELECT f.proname
FROM pg_dist_object AS o
JOIN pg_proc AS f ON f.oid = o.objid
WHERE o.classid = 'pg_proc'::regclass
    AND o.distribution_argument_index IS NOT NULL
    AND f.pronamespace = current_schema()::regnamespace;

-- name: nodes
-- Lists the nodes. Group 0 is the coordinator.
SELECT n.nodename, n.nodeport, n.groupid, n.isactive, n.shouldhaveshards
FROM pg_dist_node AS n
WHERE n.noderole = 'primary'
ORDER BY n.groupid;

-- name: sizes
-- Returns for each node how many parts of the inboxes it has, and the bytes of all that it has.
SELECT s.nodename, s.nodeport, count(*) FILTER (WHERE s.table_name = to_regclass('inboxes')) AS shards,
    sum(s.shard_size)::bigint AS bytes
FROM citus_shards AS s
GROUP BY s.nodename, s.nodeport;

-- name: servers
-- Counts the connections of servers to this database.
SELECT count(*) AS servers
FROM pg_stat_activity AS a
WHERE a.datname = current_database() AND a.application_name LIKE 'feedbackwave%' AND a.pid <> pg_backend_pid();

-- name: unsafe
-- Lists the nodes whose Citus may crash at statements of functions.
SELECT n.nodename || ':' || n.nodeport AS node
FROM run_command_on_all_nodes('SHOW citus.enable_local_fast_path_query_optimization') AS r
JOIN pg_dist_node AS n ON n.nodeid = r.nodeid
WHERE r.success AND r.result = 'on'
ORDER BY n.groupid;

-- name: moves
-- Counts the parts that Citus would move to have the nodes alike.
SELECT count(*) AS moves
FROM get_rebalance_table_shards_plan();

-- name: size
-- Returns the bytes of a table ($1) that is not spread, with its indexes.
SELECT pg_total_relation_size($1::text::regclass) AS bytes;

-- name: room
-- Returns how many bytes the disk of each node has left.
SELECT n.nodename, n.nodeport, r.result::bigint AS bytes
FROM run_command_on_all_nodes('SELECT available_disk_size FROM citus_local_disk_space_stats()') AS r
JOIN pg_dist_node AS n ON n.nodeid = r.nodeid
WHERE r.success;

-- name: let_go
-- Gives back the space of the rows that a spread table ($1) had before.
SELECT truncate_local_data_after_distributing_table($1::text::regclass);

-- name: lock
-- Waits for a lock ($1) that ends with the connection.
SELECT pg_advisory_lock($1::bigint);

-- name: copy
-- Copies a table ($1) to every node.
SELECT create_reference_table($1::text::regclass);

-- name: spread_first
-- Spreads a table ($1) by a column ($2), in so many parts ($3).
SELECT create_distributed_table($1::text::regclass, $2, shard_count => $3::integer, colocate_with => 'none');

-- name: spread
-- Spreads a table ($1) by a column ($2), each part beside that of another table ($3).
SELECT create_distributed_table($1::text::regclass, $2, colocate_with => $3);

-- name: send
-- Has a function ($1) run by the node that has the rows of a table ($3) for one of its arguments ($2).
SELECT create_distributed_function(f.oid::regprocedure, $2, colocate_with => $3)
FROM pg_proc AS f
WHERE f.proname = $1 AND f.pronamespace = current_schema()::regnamespace;
