#!/usr/bin/env bash
# A throw-away server of MySQL's protocol for tests; read by mariadb.sh and mysql.sh, not run.
#
#   serve start DIR   makes a server in DIR unless it holds one, starts it, prints its URL
#   serve stop DIR    stops the server of DIR, by its pid; DIR stays and can be started again
#   serve run         start in a new temporary folder, wait until stdin is closed, stop, and remove
#                     the folder: the server cannot outlive the test that holds stdin
#
# The server has its data, socket and log in DIR, reads no configuration of the machine, and listens
# on a free port of 127.0.0.1 only, with a password of its own that the URL holds. It offers TLS,
# with a certificate for `localhost` signed by DIR/ca.pem. It does not fsync: what would be lost with
# the machine is lost with the test. Such a server is not to run as root, so under root everything
# runs as the account `mysql`, or, where there is none, as `thalweg-test`, which is then made.
#
# The script that reads this sets `kind`, its own name without `.sh`, and defines
#
#   require_programs   brings the programs, or fails and names what is missing
#   make_data          makes the data folder $folder/data
#   server             runs the server with the options it is given and with its own
#   is_up              whether the server of $folder, just started, has run its init file

: "${kind:?}"
umask 077
# shellcheck source=tests/services/certificates.sh
. "$(dirname "$0")/certificates.sh"

PATH=$PATH:/usr/sbin:/sbin

say() { echo "$kind.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

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

    # These servers cannot choose a port themselves, so ports are tried until one is free. They lie
    # below the range that outgoing connections take theirs from.
    for attempt in $(seq 20); do
        port=$((10240 + RANDOM % 22000))
        if try_port; then
            echo "mysql://thalweg:$(cat "$folder/password")@127.0.0.1:$port/thalweg" |
                tee "$folder/url"
            return
        fi
        grep -qi 'bind on TCP/IP port' "$folder/server.log" || break
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
    make_data >>"$folder/install.log" 2>&1 ||
        { cat "$folder/install.log" >&2; fail "the data folder could not be made"; }
}

# Starts the server of $folder on $port and waits until it answers; false when it ends instead. The
# log is that of the last start.
try_port() {
    local init=
    [ -s "$folder/url" ] || init=--init-file="$folder/init.sql"
    server --socket="$folder/socket" --pid-file="$folder/pid" --bind-address=127.0.0.1 \
        --port="$port" --skip-log-bin --ssl-ca="$folder/ca.pem" --ssl-cert="$folder/server.pem" \
        --ssl-key="$folder/server.key" ${init:+"$init"} </dev/null >"$folder/server.log" 2>&1 &
    local server=$!
    for _ in $(seq 600); do
        kill -0 "$server" 2>/dev/null || return 1
        ! is_up || return 0
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
    folder=$(mktemp -d "${TMPDIR:-/tmp}/thalweg-$kind.XXXXXX")
    trap throw_away EXIT
    # A signal to the whole group, as Ctrl-C sends, must not keep the server from being stopped.
    trap 'exit 1' INT TERM HUP
    start "$folder"
    cat >/dev/null
}

serve() {
    case "${1-}/$#" in
        start/2 | stop/2 | run/1) ;;
        *) fail "usage: $kind.sh start DIR | stop DIR | run" ;;
    esac
    require_programs
    choose_account
    "$@"
}
