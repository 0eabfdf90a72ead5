-- Namespaces. A key (the id of a thread or an intervention, the name of a stored workflow) begins with
-- its namespace and a slash, in `default` with neither, so that what was there before stays what it
-- was, and no append writes more than it did. What lists of one namespace read stands in indexes that
-- begin with it: they hold nothing that an append changes, so that those updates stay HOT. Only adds
-- and replaces indexes: a server of an older version goes on beside it.
DROP INDEX threads_newest, threads_of_workflow, threads_ended_of_workflow;
CREATE INDEX threads_newest ON threads
    (left(thread_id, strpos(thread_id, '/')), created_at, thread_id);
CREATE INDEX threads_of_workflow ON threads
    (left(thread_id, strpos(thread_id, '/')), workflow, created_at, thread_id);
CREATE INDEX threads_ended_of_workflow ON threads
    (left(thread_id, strpos(thread_id, '/')), workflow, completed_at, thread_id)
    WHERE completed_at IS NOT NULL;

DROP INDEX labels_by_value;
CREATE INDEX labels_by_value ON labels
    (left(thread_id, strpos(thread_id, '/')), key, value, thread_id);

DROP INDEX recoveries_since;
CREATE INDEX recoveries_since ON recoveries
    (left(thread_id, strpos(thread_id, '/')), started_at);

DROP INDEX interventions_newest, interventions_open;
CREATE INDEX interventions_newest ON interventions
    (left(thread_id, strpos(thread_id, '/')), opened_at, id);
CREATE INDEX interventions_open ON interventions
    (left(thread_id, strpos(thread_id, '/')), opened_at, id) WHERE resolved_at IS NULL;

CREATE INDEX workflows_by_name ON workflows (left(name, strpos(name, '/')), name, version);

-- The id of a subscription is made by the server, and no other has it: no prefix is needed.
ALTER TABLE notifications ADD COLUMN namespace text COLLATE "C" NOT NULL DEFAULT 'default';
DROP INDEX notifications_newest;
CREATE INDEX notifications_newest ON notifications (namespace, created_at, id);
