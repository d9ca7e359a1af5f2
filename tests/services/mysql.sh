#!/usr/bin/env bash
# A throw-away MySQL server for tests.
#
#   mysql.sh start DIR   makes a server in DIR unless it holds one, starts it, prints its URL
#   mysql.sh stop DIR    stops the server of DIR, by its pid; DIR stays and can be started again
#   mysql.sh run         start in a new temporary folder, wait until stdin is closed, stop, and
#                        remove the folder: the server cannot outlive the test that holds stdin
#
# What such a server is, and as whom it runs, is in mysqld.sh. Its user logs in by MySQL's default,
# `caching_sha2_password`.
#
# MySQL is in no stable Debian. On the first call the package of Debian unstable comes through `apt`,
# which checks its signature, with the libraries it needs down to the loader; they are unpacked and
# run where they lie, and nothing is installed. That is ${XDG_CACHE_HOME:-$HOME/.cache}/thalweg/mysql,
# or under root, whose folders the server's account cannot reach, /var/cache/thalweg/mysql. Some
# 250 MB, of which 60 MB are downloaded; remove the folder to get a newer version.
#
# Needs the programs of the Debian packages `apt`, `debian-archive-keyring` and `openssl`, and fails
# where they are missing.

set -euo pipefail
kind=mysql
# shellcheck source=tests/services/mysqld.sh
. "$(dirname "$0")/mysqld.sh"

mirror=http://deb.debian.org/debian
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Sets $packages, the folder of the unpacked packages, and fills it on the first call.
require_programs() {
    local program
    for program in apt-get dpkg-deb openssl; do
        command -v "$program" >/dev/null || fail "$program is missing: this needs a Debian system"
    done
    packages=${XDG_CACHE_HOME:-$HOME/.cache}/thalweg/mysql
    [ "$(id -u)" != 0 ] || packages=/var/cache/thalweg/mysql
    (umask 022 && mkdir -p "$(dirname "$packages")")
    exec 9>"$packages.lock"
    flock 9
    # Written last, so a folder that holds it is whole.
    [ -s "$packages/version" ] || make_packages
    exec 9>&-
    loader=$(find "$packages/usr/lib" -path '*-linux-gnu/ld-linux-*' -print -quit)
    libraries=$(dirname "$loader")
}

make_packages() {
    local apt=$packages/apt package
    [ -r "$keyring" ] || fail "$keyring is missing: install the package debian-archive-keyring"
    say "making $packages"
    rm -rf "$packages"
    (umask 022 && mkdir -p "$packages")
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    # No package counts as installed, so all that are needed come.
    touch "$apt/status"
    # A mirror that is some days behind has a server as good.
    echo "deb [signed-by=$keyring check-valid-until=no] $mirror unstable main" >"$apt/sources.list"
    private_apt update || fail "the list of packages could not be read from $mirror"
    private_apt install --download-only --no-install-recommends mysql-server-core ||
        fail "the package mysql-server-core could not be brought from $mirror"
    for package in "$apt"/cache/archives/*.deb; do
        # Perl is for programs beside the server.
        case ${package##*/} in perl* | libperl*) continue ;; esac
        dpkg-deb --extract "$package" "$packages" || fail "$package could not be unpacked"
    done
    dpkg-deb --field "$apt"/cache/archives/mysql-server-core_*.deb Version >"$packages/version.new"
    rm -rf "$apt"
    mv "$packages/version.new" "$packages/version"
}

# Runs apt-get on folders and sources of its own.
private_apt() {
    # The first file that is read leads away from those of the machine.
    printf '%s\n' 'Dir::Etc::Parts "/dev/null";' 'Dir::Etc::Main "/dev/null";' >"$apt/apt.conf"
    APT_CONFIG=$apt/apt.conf apt-get -qq --yes \
        -o Dir::State="$apt" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache" \
        -o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
        -o APT::Sandbox::User=root -o Acquire::Languages=none "$@" >&2
}

make_data() {
    echo "ALTER USER root@localhost ACCOUNT LOCK;" | as_account tee -a "$folder/init.sql" >/dev/null
    server --initialize-insecure
}

server() {
    as_account "$loader" --library-path "$libraries" "$packages/usr/sbin/mysqld" --no-defaults \
        --basedir="$packages/usr" --plugin-dir="$packages/usr/lib/mysql/plugin" \
        --lc-messages-dir="$packages/usr/share/mysql" --secure-file-priv=NULL --mysqlx=OFF \
        --datadir="$folder/data" --tmpdir="$folder/tmp" --innodb-flush-method=nosync \
        --innodb-buffer-pool-size=64M --innodb-redo-log-capacity=32M "$@"
}

# The line comes when the init file has been run.
is_up() {
    grep -q 'ready for connections. Version' "$folder/server.log"
}

serve "$@"
