#!/bin/sh
# Makes a fresh Debian or Ubuntu machine able to build hasten; with the argument "tests", to run its tests as well.
# Does nothing when all is there.
# Needs root only when something is missing: runs apt-get as root or by sudo, else prints the line to run.
set -eu

header() { printf '#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n#include <%s>\n' "$1" | cc "-I${2:-/usr/include}" -E - >/dev/null 2>&1; }
postgres_server() { command -v initdb || ls /usr/lib/postgresql/*/bin/initdb; }
python_include() { python3 -c 'import sysconfig; print(sysconfig.get_path("include"))'; }

missing=
need() { # need PACKAGE COMMAND...: notes PACKAGE when COMMAND fails
    package=$1
    shift
    "$@" >/dev/null 2>&1 || missing="$missing $package"
}

need gcc command -v cc
need make command -v make
need pkg-config command -v pkg-config
need python3-venv python3 -c 'import venv, ensurepip'
# Without a compiler no header is found, so that all of these are named too.
need libc6-dev header stdio.h
need python3-dev header Python.h "$(python_include)"
need libsqlite3-dev header sqlite3.h
if [ "${1:-}" = tests ]; then
    need libcmocka-dev header cmocka.h
    need tmux command -v tmux
    need postgresql postgres_server
    need redis-server command -v redis-server
fi
need ca-certificates test -s /etc/ssl/certs/ca-certificates.crt

# Tests of the page that `hasten imports` writes: where no browser can be had (elsewhere than in Debian), they are skipped.
wanted=
if [ "${1:-}" = tests ]; then
    command -v chromium >/dev/null 2>&1 || wanted="$wanted chromium"
    command -v chromedriver >/dev/null 2>&1 || wanted="$wanted chromium-driver"
fi

[ -n "$missing$wanted" ] || exit 0

[ -n "$missing" ] || command -v apt-get >/dev/null 2>&1 || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "bootstrap: missing, by their Debian names:$missing; install them and start again" >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    root=
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    root=sudo
elif [ -z "$missing" ]; then
    exit 0
else
    echo "bootstrap: some packages are missing; run this as root and start again:" >&2
    echo "  apt-get update && apt-get install --no-install-recommends -y$missing" >&2
    exit 1
fi
echo "bootstrap: installing$missing$wanted"
export DEBIAN_FRONTEND=noninteractive
$root apt-get update -q || [ -z "$missing" ]
# shellcheck disable=SC2086 # a list of words
[ -z "$missing" ] || $root apt-get install -q -y --no-install-recommends $missing
# shellcheck disable=SC2086
[ -z "$wanted" ] || $root apt-get install -q -y --no-install-recommends $wanted ||
    echo "bootstrap: no browser could be had here: the tests in one are skipped"
