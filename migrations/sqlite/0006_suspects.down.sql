ALTER TABLE replicas DROP COLUMN seen_at;
DROP TABLE suspects;
