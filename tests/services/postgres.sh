#!/usr/bin/env bash
# A throw-away PostgreSQL server for tests.
#
#   postgres.sh start DIR   makes a cluster in DIR unless it holds one, starts it, prints its URL
#   postgres.sh stop DIR    stops the server of DIR, by its pid; DIR stays and can be started again
#   postgres.sh run         start in a new temporary folder, wait until stdin is closed, stop, and
#                           remove the folder: the server cannot outlive the test that holds stdin
#
# The server listens on a free port of 127.0.0.1 only, with a password of its own that the URL
# holds, and offers TLS, with a certificate for `localhost` signed by DIR/ca.pem. It does not fsync: what would be lost with the machine is lost with the test. PostgreSQL
# refuses to run as root, so under root everything runs as the account `postgres`, or, where there
# is none, as `thalweg-test`, which is then made.
#
# Needs `openssl`, and the programs of the Debian package `postgresql`, in /usr/lib/postgresql/*/bin or in PATH.
# Under root the package is installed when they are missing; otherwise the script fails and names it.

set -euo pipefail
umask 077
# shellcheck source=tests/services/certificates.sh
. "$(dirname "$0")/certificates.sh"

say() { echo "postgres.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

# Prints the folder of initdb, pg_ctl and postgres, the newest version first.
find_programs() {
    local folder initdb
    for folder in $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -rV); do
        if [ -x "$folder/initdb" ] && [ -x "$folder/pg_ctl" ]; then
            echo "$folder"
            return
        fi
    done
    initdb=$(command -v initdb) && command -v pg_ctl >/dev/null || return 1
    dirname "$(readlink -f "$initdb")"
}

require_programs() {
    programs=$(find_programs) && return
    [ "$(id -u)" = 0 ] || fail "initdb and pg_ctl are missing: install the package postgresql"
    say "installing the package postgresql"
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql >&2 ||
        fail "the package postgresql could not be installed"
    programs=$(find_programs) || fail "the package postgresql brought no initdb and pg_ctl"
}

# Sets the account the server runs as; empty when it is the caller's own.
choose_account() {
    account=
    [ "$(id -u)" = 0 ] || return 0
    account=postgres
    if ! id "$account" >/dev/null 2>&1; then
        account=thalweg-test
        id "$account" >/dev/null 2>&1 || useradd --system --no-create-home "$account"
    fi
}

# Runs a command as that account, in a folder it may be in.
as_account() {
    if [ -n "$account" ]; then
        (cd / && setpriv --reuid="$account" --regid="$(id -g "$account")" --clear-groups "$@")
    else
        "$@"
    fi
}

start() {
    local folder=$1 port attempt
    mkdir -p "$folder"
    folder=$(cd "$folder" && pwd)
    if [ -s "$folder/url" ]; then
        port=$(sed 's/.*:\([0-9]*\)\/.*/\1/' "$folder/url")
        try_port || { cat "$folder/server.log" >&2; fail "the server did not start again"; }
        cat "$folder/url"
        return
    fi
    make_cluster

    # PostgreSQL cannot choose a port itself, so ports are tried until one is free. They lie below
    # the range that outgoing connections take theirs from.
    for attempt in $(seq 20); do
        port=$((10240 + RANDOM % 22000))
        if try_port; then
            echo "postgres://thalweg:$(cat "$folder/password")@127.0.0.1:$port/postgres" |
                tee "$folder/url"
            return
        fi
        grep -q 'could not bind' "$folder/server.log" || break
        rm -f "$folder/server.log"
    done
    cat "$folder/server.log" >&2
    fail "the server did not start after $attempt attempts"
}

# Makes the cluster of $folder, with a new password.
make_cluster() {
    local password
    if [ -n "$account" ]; then
        chown "$account" "$folder"
        as_account test -w "$folder" || fail "$account cannot reach $folder: use one below /tmp"
    fi

    password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
    printf '%s\n' "$password" | as_account tee "$folder/password" >/dev/null
    as_account "$programs/initdb" --pgdata="$folder/data" --username=thalweg --encoding=UTF8 \
        --locale=C --auth=scram-sha-256 --pwfile="$folder/password" --no-sync \
        >"$folder/initdb.log" 2>&1 || { cat "$folder/initdb.log" >&2; fail "initdb failed"; }
    make_certificates "$folder" >>"$folder/initdb.log" 2>&1 ||
        { cat "$folder/initdb.log" >&2; fail "openssl failed"; }
    printf '%s\n' "ssl = on" "ssl_cert_file = '$folder/server.pem'" \
        "ssl_key_file = '$folder/server.key'" |
        as_account tee -a "$folder/data/postgresql.conf" >/dev/null
}

# Starts the server of $folder on $port.
try_port() {
    as_account "$programs/pg_ctl" start --wait --timeout=60 --silent \
        --pgdata="$folder/data" --log="$folder/server.log" \
        --options="-h 127.0.0.1 -p $port -F -c unix_socket_directories=''" \
        </dev/null >&2
}

# Asks the server to write everything to its files, end its sessions and stop.
stop() {
    local folder
    folder=$(cd "$1" && pwd)
    [ -e "$folder/data/postmaster.pid" ] || return 0
    as_account "$programs/pg_ctl" stop --silent --mode=fast --timeout=60 \
        --pgdata="$folder/data" >&2 || { tail -n 50 "$folder/server.log" >&2; fail "cannot stop"; }
}

# Stops the server of $folder where it stands, and removes the folder.
throw_away() {
    [ ! -e "$folder/data/postmaster.pid" ] ||
        as_account "$programs/pg_ctl" stop --silent --mode=immediate --pgdata="$folder/data" >&2
    rm -rf "$folder"
}

run() {
    folder=$(mktemp -d "${TMPDIR:-/tmp}/thalweg-postgres.XXXXXX")
    trap throw_away EXIT
    # A signal to the whole group, as Ctrl-C sends, must not keep the server from being stopped.
    trap 'exit 1' INT TERM HUP
    start "$folder"
    cat >/dev/null
}

usage() { fail "usage: postgres.sh start DIR | stop DIR | run"; }

case "${1-}/$#" in
    start/2 | stop/2 | run/1) ;;
    *) usage ;;
esac
require_programs
choose_account
"$@"
