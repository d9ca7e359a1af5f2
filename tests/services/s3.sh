#!/usr/bin/env bash
# A throw-away S3 server for tests: moto, in memory.
#
#   s3.sh run      starts it on a free port of 127.0.0.1, prints its address, and ends it when stdin is
#                  closed: the server cannot outlive the test that holds stdin
#
# It takes any credentials, and none. The packages pinned below live in a virtual environment in
# ${XDG_CACHE_HOME:-$HOME/.cache}/thalweg/s3, made on the first call and whenever the pins change.
#
# Needs Python 3.10 or newer with `venv`. Under root the Debian package python3-venv is installed
# when that is missing; otherwise the script fails and names it.

set -euo pipefail
umask 077

pins='moto[server,s3]==5.2.5'

say() { echo "s3.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

# Prints a Python that is new enough and can make a virtual environment.
find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do
        if command -v "$name" >/dev/null && "$name" -c '
import sys, venv, ensurepip
sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            command -v "$name"
            return
        fi
    done
    return 1
}

require_python() {
    python=$(find_python) && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        fail "there is no Python 3.10 or newer with venv: install the package python3-venv"
    say "installing the package python3-venv"
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv >&2 ||
        fail "the package python3-venv could not be installed"
    python=$(find_python) || fail "the package python3-venv brought no Python 3.10 or newer"
}

[ "${1-}/$#" = run/1 ] || fail "usage: s3.sh run"
folder="${XDG_CACHE_HOME:-$HOME/.cache}/thalweg/s3"
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9

# The pins are written last, so an environment that holds them is whole.
if [ "$(cat "$folder/pins" 2>/dev/null || true)" != "$pins" ]; then
    require_python
    say "making $folder"
    rm -rf "$folder"
    "$python" -m venv "$folder" >&2 || fail "the environment in $folder could not be made"
    printf '%s\n' "$pins" |
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check \
            --only-binary :all: --requirement /dev/stdin >&2 ||
        fail "the packages could not be installed"
    "$folder/bin/python" -c 'import moto.server' || fail "the packages do not load"
    printf '%s\n' "$pins" >"$folder/pins"
fi
exec 9>&-

exec "$folder/bin/python" -c '
import logging, sys
from moto.server import ThreadedMotoServer
logging.getLogger("werkzeug").setLevel(logging.ERROR)
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
print(f"http://{host}:{port}", flush=True)
sys.stdin.buffer.read()
server.stop()
'
