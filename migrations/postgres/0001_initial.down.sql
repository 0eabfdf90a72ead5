DROP TABLE secrets, workflows, definitions, inbox, idempotency, labels, journal, threads, replicas;
DROP SEQUENCE incarnations;
DROP FUNCTION forget_threads();
DROP FUNCTION now_ms();
