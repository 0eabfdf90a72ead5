# shellcheck shell=bash
# Shared by the scripts beside it; sourced, never run.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

say() { printf '\n== %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }

# Prints the folder with Postgres' server programs; fails if there is none.
find_postgres() {
  local folder
  if have initdb && have pg_ctl && initdb --version >/dev/null 2>&1; then
    dirname "$(command -v pg_ctl)"
    return 0
  fi
  # Newest version first.
  while IFS= read -r folder; do
    if [ -x "$folder/initdb" ] && [ -x "$folder/pg_ctl" ]; then
      printf '%s\n' "$folder"
      return 0
    fi
  done < <(printf '%s\n' \
    /usr/lib/postgresql/*/bin \
    /usr/pgsql-*/bin \
    /opt/homebrew/opt/postgresql*/bin \
    /usr/local/opt/postgresql*/bin \
    /Applications/Postgres.app/Contents/Versions/*/bin | sort -Vr)
  return 1
}

# Installs Postgres' server programs where that can be done without asking.
install_postgres() {
  local as_root=()
  have apt-get || return 1
  if [ "$(id -u)" -ne 0 ]; then
    have sudo && sudo -n true 2>/dev/null || return 1
    as_root=(sudo -n)
  fi
  say 'installing PostgreSQL (apt-get install postgresql)'
  # Without a cluster of its own: the tests start one for themselves.
  "${as_root[@]}" mkdir -p /etc/postgresql-common || return 1
  if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    printf 'create_main_cluster = false\n' |
      "${as_root[@]}" tee /etc/postgresql-common/createcluster.conf >/dev/null || return 1
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q </dev/null || true
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends postgresql </dev/null
}
