#!/usr/bin/env bash
# A throw-away MariaDB server for tests.
#
#   mariadb.sh start DIR   makes a server in DIR unless it holds one, starts it, prints its URL
#   mariadb.sh stop DIR    stops the server of DIR, by its pid; DIR stays and can be started again
#   mariadb.sh run         start in a new temporary folder, wait until stdin is closed, stop, and
#                          remove the folder: the server cannot outlive the test that holds stdin
#
# What such a server is, and as whom it runs, is in mysqld.sh.
#
# Needs the programs of the Debian packages `mariadb-server` and `openssl`. Under root they are
# installed when they are missing, and no server of the system's own is started for that; otherwise
# the script fails and names them.

set -euo pipefail
kind=mariadb
# shellcheck source=tests/services/mysqld.sh
. "$(dirname "$0")/mysqld.sh"

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

make_data() {
    as_account mariadb-install-db --no-defaults --datadir="$folder/data" \
        --tmpdir="$folder/tmp" --skip-test-db \
        --auth-root-authentication-method=normal --skip-name-resolve
}

server() {
    as_account mariadbd --no-defaults --datadir="$folder/data" --tmpdir="$folder/tmp" \
        --innodb-flush-method=nosync --innodb-buffer-pool-size=64M --innodb-log-file-size=32M "$@"
}

# The socket answers when the init file has been read.
is_up() {
    MYSQL_PWD=$(cat "$folder/password") mariadb-admin --no-defaults --silent \
        --user=thalweg --socket="$folder/socket" ping >/dev/null 2>&1
}

serve "$@"
