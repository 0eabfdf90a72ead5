ALTER TABLE replicas DROP COLUMN attended, DROP COLUMN lost;
