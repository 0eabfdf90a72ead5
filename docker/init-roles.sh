#!/bin/sh
# Runs once, when the PostgreSQL container makes its cluster. Makes two roles that are no superusers:
# `rethread_owner` owns the schema and migrates it, `rethread` reads and writes its rows. The server
# has the second one alone.
set -eu
psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set=owner_password="$DB_OWNER_PASSWORD" --set=server_password="$DB_SERVER_PASSWORD" <<'SQL'
CREATE ROLE rethread_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE rethread LOGIN PASSWORD :'server_password';
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA rethread AUTHORIZATION rethread_owner;
GRANT USAGE ON SCHEMA rethread TO rethread;
ALTER DEFAULT PRIVILEGES FOR ROLE rethread_owner IN SCHEMA rethread
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO rethread;
ALTER DEFAULT PRIVILEGES FOR ROLE rethread_owner IN SCHEMA rethread
  GRANT USAGE ON SEQUENCES TO rethread;
SQL
