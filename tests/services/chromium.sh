#!/usr/bin/env bash
# The browser that tests of the screen drive.
#
#   chromium.sh    prints the path of the program on stdout; everything else goes to stderr
#
# Needs the Debian package `chromium`, or a Chromium that $CHROMIUM names. Under root the package is
# installed when it is missing; otherwise the script fails and names it.

set -euo pipefail

say() { echo "chromium.sh: $*" >&2; }
fail() { say "$*"; exit 1; }

find_chromium() { command -v "${CHROMIUM:-chromium}" || command -v chromium-browser; }

if ! find_chromium; then
    [ -z "${CHROMIUM-}" ] || fail "CHROMIUM names $CHROMIUM, which is no program"
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null ||
        fail "there is no Chromium: install the package chromium"
    say "installing the package chromium"
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium >&2 ||
        fail "the package chromium could not be installed"
    find_chromium || fail "the package chromium brought no program of that name"
fi
