DROP INDEX notifications_newest;
ALTER TABLE notifications DROP COLUMN namespace;
CREATE INDEX notifications_newest ON notifications (created_at, id);

DROP INDEX workflows_by_name;

DROP INDEX interventions_newest, interventions_open;
CREATE INDEX interventions_newest ON interventions (opened_at, id);
CREATE INDEX interventions_open ON interventions (opened_at, id) WHERE resolved_at IS NULL;

DROP INDEX recoveries_since;
CREATE INDEX recoveries_since ON recoveries (started_at);

DROP INDEX labels_by_value;
CREATE INDEX labels_by_value ON labels (key, value, thread_id);

DROP INDEX threads_newest, threads_of_workflow, threads_ended_of_workflow;
CREATE INDEX threads_newest ON threads (created_at, thread_id);
CREATE INDEX threads_of_workflow ON threads (workflow, created_at, thread_id);
CREATE INDEX threads_ended_of_workflow ON threads (workflow, completed_at, thread_id)
    WHERE completed_at IS NOT NULL;
