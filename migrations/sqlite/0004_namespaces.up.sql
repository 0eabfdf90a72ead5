-- Namespaces, as in Postgres: a key begins with its namespace and a slash, in `default` with neither,
-- and what lists of one namespace read stands in indexes that begin with it.
DROP INDEX threads_newest;
DROP INDEX threads_of_workflow;
DROP INDEX threads_ended_of_workflow;
CREATE INDEX threads_newest ON threads
    (substr(thread_id, 1, instr(thread_id, '/')), created_at, thread_id);
CREATE INDEX threads_of_workflow ON threads
    (substr(thread_id, 1, instr(thread_id, '/')), workflow, created_at, thread_id);
CREATE INDEX threads_ended_of_workflow ON threads
    (substr(thread_id, 1, instr(thread_id, '/')), workflow, completed_at, thread_id)
    WHERE completed_at IS NOT NULL;

DROP INDEX labels_by_value;
CREATE INDEX labels_by_value ON labels
    (substr(thread_id, 1, instr(thread_id, '/')), key, value, thread_id);

DROP INDEX recoveries_since;
CREATE INDEX recoveries_since ON recoveries
    (substr(thread_id, 1, instr(thread_id, '/')), started_at);

DROP INDEX interventions_newest;
DROP INDEX interventions_open;
CREATE INDEX interventions_newest ON interventions
    (substr(thread_id, 1, instr(thread_id, '/')), opened_at, id);
CREATE INDEX interventions_open ON interventions
    (substr(thread_id, 1, instr(thread_id, '/')), opened_at, id) WHERE resolved_at IS NULL;

CREATE INDEX workflows_by_name ON workflows (substr(name, 1, instr(name, '/')), name, version);

ALTER TABLE notifications ADD COLUMN namespace TEXT NOT NULL DEFAULT 'default';
DROP INDEX notifications_newest;
CREATE INDEX notifications_newest ON notifications (namespace, created_at, id);
