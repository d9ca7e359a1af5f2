#!/usr/bin/env bash
# A throw-away MariaDB server for tests.
#
#   mariadb.sh start DIR   makes a server in DIR unless it holds one, starts it, prints its URL
#   mariadb.sh stop DIR    stops the server of DIR, by its pid; DIR stays and can be started again
#   mariadb.sh run         start in a new temporary folder, wait until stdin is closed, stop, and
#                          remove the folder: the server cannot outlive the test that holds stdin
#
# The server has its data, socket and log in DIR, reads no configuration of the machine, and listens
# on a free port of 127.0.0.1 only, with a password of its own that the URL holds. It offers TLS,
# with a certificate for `localhost` signed by DIR/ca.pem. It does not fsync: what would be lost with
# the machine is lost with the test. MariaDB is not to run as root, so under root everything runs as
# the account `mysql`, or, where there is none, as `thalweg-test`, which is then made.
#
# Needs the programs of the Debian packages `mariadb-server` and `openssl`. Under root they are
# installed when they are missing, and no server of the system's own is started for that; otherwise
# the script fails and names them.

set -euo pipefail
umask 077
# shellcheck source=tests/services/certificates.sh
. "$(dirname "$0")/certificates.sh"

say() { echo "mariadb.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

PATH=$PATH:/usr/sbin:/sbin

has_programs() {
    command -v mariadbd >/dev/null && command -v mariadb-install-db >/dev/null &&
        command -v openssl >/dev/null
}

require_programs() {
    local policy
    has_programs && return
    [ "$(id -u)" = 0 ] || fail "mariadbd is missing: install the packages mariadb-server and openssl"
    say "installing the packages mariadb-server and openssl"
    # Debian starts the server it installs unless this program says no.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        mariadb-server openssl >&2 || fail "the package mariadb-server could not be installed"
    if [ -n "$(trap -p EXIT)" ]; then
        rm -f "$policy"
        trap - EXIT
    fi
    has_programs || fail "the package mariadb-server brought no mariadbd and mariadb-install-db"
}

# Sets the account the server runs as; empty when it is the caller's own.
choose_account() {
    account=
    [ "$(id -u)" = 0 ] || return 0
    account=mysql
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
    make_server

    # MariaDB cannot choose a port itself, so ports are tried until one is free. They lie below the
    # range that outgoing connections take theirs from.
    for attempt in $(seq 20); do
        port=$((10240 + RANDOM % 22000))
        if try_port; then
            echo "mysql://thalweg:$(cat "$folder/password")@127.0.0.1:$port/thalweg" |
                tee "$folder/url"
            return
        fi
        grep -q 'bind on TCP/IP port' "$folder/server.log" || break
        rm -f "$folder/server.log"
    done
    cat "$folder/server.log" >&2
    fail "the server did not start after $attempt attempts"
}

# Makes the data of $folder, with a new password and certificates, and a database `thalweg`.
make_server() {
    local password
    if [ -n "$account" ]; then
        chown "$account" "$folder"
        as_account test -w "$folder" || fail "$account cannot reach $folder: use one below /tmp"
    fi
    password=$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
    printf '%s\n' "$password" | as_account tee "$folder/password" >/dev/null
    make_certificates "$folder" >"$folder/install.log" 2>&1 ||
        { cat "$folder/install.log" >&2; fail "openssl failed"; }
    printf '%s\n' "CREATE USER thalweg@'%' IDENTIFIED BY '$password';" \
        "GRANT ALL ON *.* TO thalweg@'%' WITH GRANT OPTION;" "CREATE DATABASE thalweg;" |
        as_account tee "$folder/init.sql" >/dev/null
    # A server clears its folder for temporary files when it begins, so each has its own.
    as_account mkdir -p "$folder/tmp"
    as_account mariadb-install-db --no-defaults --datadir="$folder/data" \
        --tmpdir="$folder/tmp" --skip-test-db \
        --auth-root-authentication-method=normal --skip-name-resolve \
        >>"$folder/install.log" 2>&1 ||
        { cat "$folder/install.log" >&2; fail "mariadb-install-db failed"; }
}

# Starts the server of $folder on $port and waits until it answers; false when it ends instead.
try_port() {
    local init=
    [ -s "$folder/url" ] || init=--init-file="$folder/init.sql"
    as_account mariadbd --no-defaults --datadir="$folder/data" --tmpdir="$folder/tmp" --socket="$folder/socket" \
        --pid-file="$folder/pid" --bind-address=127.0.0.1 --port="$port" --skip-log-bin \
        --innodb-flush-method=nosync --innodb-buffer-pool-size=64M --innodb-log-file-size=32M \
        --ssl-ca="$folder/ca.pem" --ssl-cert="$folder/server.pem" --ssl-key="$folder/server.key" \
        $init </dev/null >>"$folder/server.log" 2>&1 &
    local server=$!
    # The socket answers when the init file has been read.
    for _ in $(seq 600); do
        kill -0 "$server" 2>/dev/null || return 1
        if MYSQL_PWD=$(cat "$folder/password") mariadb-admin --no-defaults --silent \
            --user=thalweg --socket="$folder/socket" ping >/dev/null 2>&1; then
            return 0
        fi
        sleep 0.1
    done
    kill "$server" 2>/dev/null || true
    return 1
}

# Ends the server of the pid file by a signal, and waits until it is gone.
end_server() {
    local pid
    [ -s "$1/pid" ] || return 0
    pid=$(cat "$1/pid")
    kill "-$2" "$pid" 2>/dev/null || return 0
    for _ in $(seq 600); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    return 1
}

# Asks the server to write everything to its files, end its sessions and stop.
stop() {
    local folder
    folder=$(cd "$1" && pwd)
    end_server "$folder" TERM || { tail -n 50 "$folder/server.log" >&2; fail "cannot stop"; }
}

# Stops the server of $folder where it stands, and removes the folder.
throw_away() {
    end_server "$folder" KILL || true
    rm -rf "$folder"
}

run() {
    folder=$(mktemp -d "${TMPDIR:-/tmp}/thalweg-mariadb.XXXXXX")
    trap throw_away EXIT
    # A signal to the whole group, as Ctrl-C sends, must not keep the server from being stopped.
    trap 'exit 1' INT TERM HUP
    start "$folder"
    cat >/dev/null
}

usage() { fail "usage: mariadb.sh start DIR | stop DIR | run"; }

case "${1-}/$#" in
    start/2 | stop/2 | run/1) ;;
    *) usage ;;
esac
require_programs
choose_account
"$@"
