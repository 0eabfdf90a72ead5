-- How peers notice that a process is gone: it holds an advisory lock for as long as its session
-- lives. `attended` is set only while that lock is held (an older server never sets it, and is
-- judged by its lease alone); `lost` says how a lease came to its end.
ALTER TABLE replicas
    ADD COLUMN attended boolean NOT NULL DEFAULT false,
    ADD COLUMN lost text COLLATE "C";
