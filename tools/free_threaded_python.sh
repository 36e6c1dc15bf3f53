#!/usr/bin/env bash
# Build a free-threaded CPython for testing, from Debian's source package, on a Debian machine with a C compiler.
#
#   tools/free_threaded_python.sh DIRECTORY [SUITE [PACKAGE]]   the interpreter is then DIRECTORY/bin/python3
#
# Takes some minutes.  Elsewhere, `uv python install 3.14t` or the like brings one that is built already.
set -euo pipefail

(($#)) || { sed -n '2,6s/^# \?//p' "$0" && exit 2; }
SUITE=${2:-trixie} PACKAGE=${3:-python3.13}
mkdir -p "$1"
PREFIX=$(cd "$1" && pwd)
WORK=$(mktemp -d "${TMPDIR:-/tmp}/free_threaded.XXXXXX")
trap 'rm -rf "$WORK"' EXIT

mirror() { # print the address of the Debian mirror that this machine is set up to use
    grep -hoE '(URIs:|^deb) .*' /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
        grep -oE 'https?://[^ ]+/debian/?( |$)' | head -n 1
}

mkdir -p "$WORK"/{lists,cache/archives}/partial
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $(mirror) $SUITE main" >"$WORK/sources.list"
apt=(apt-get -qq -o "Dir::State::Lists=$WORK/lists" -o "Dir::Etc::SourceList=$WORK/sources.list"
    -o Dir::Etc::SourceParts=/dev/null -o "Dir::Cache=$WORK/cache" -o Acquire::Languages=none
    -o Acquire::Retries=3 -o APT::Sandbox::User=)
"${apt[@]}" update
cd "$WORK"
"${apt[@]}" source --download-only "$PACKAGE"
mkdir source
tar -C source --strip-components 1 -xf "$PACKAGE"_*.orig.tar.*z
cd source
./configure -q --disable-gil --disable-test-modules --prefix="$PREFIX" >"$WORK/log"
if ! nice make -s -j "${JOBS:-2}" >>"$WORK/log" 2>&1 || ! make -s install >>"$WORK/log" 2>&1; then
    tail -n 50 "$WORK/log"
    exit 1
fi
"$PREFIX/bin/python3" -c "import ctypes, ssl, sys, zlib; assert not sys._is_gil_enabled(); print(sys.version)"
