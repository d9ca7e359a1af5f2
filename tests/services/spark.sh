#!/usr/bin/env bash
# A Python with Spark, pandas and an Avro reader, which tests hold our tables of files against.
#
#   spark.sh       prints the path of its interpreter on stdout; everything else goes to stderr
#
# It is a virtual environment in ${XDG_CACHE_HOME:-$HOME/.cache}/thalweg/spark with the packages
# pinned below, made on the first call and whenever the pins change; any other call only prints.
# Calls at the same time wait for each other.
#
# Needs Python 3.10 or newer with `venv`, and Java 17. Under root the Debian package python3-venv is
# installed when that is missing; otherwise the script fails and names it. Some 900 MB.

set -euo pipefail
umask 077

# Spark's client of HDFS is of the version that hdfs.sh runs. Spark comes as source alone.
pins='pyspark==4.0.1
pandas==2.3.3
pyarrow==21.0.0
fastavro==1.12.1'

say() { echo "spark.sh: $*" >&2; }
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

folder="${XDG_CACHE_HOME:-$HOME/.cache}/thalweg/spark"
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
            --only-binary :all: --no-binary pyspark,py4j --requirement /dev/stdin >&2 ||
        fail "the packages could not be installed"
    "$folder/bin/python" -c 'import fastavro, pandas, pyarrow, pyspark' ||
        fail "the packages do not load"
    printf '%s\n' "$pins" >"$folder/pins"
fi
echo "$folder/bin/python"
