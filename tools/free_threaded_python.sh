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

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"

apt_apart "$WORK" deb-src "$SUITE"
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
