#!/usr/bin/env bash
# Build what a release has besides compiled wheels: the sdist and, from it, the wheel of plain Python.
#
#   tools/dist.sh DIRECTORY [TREE]     needs the dependency group "lint" on PATH
#
# SOURCE_DATE_EPOCH, by default the time of the last commit, is the time of all files in the wheel.
set -euo pipefail

TREE=$(cd "${2:-$(dirname "${BASH_SOURCE[0]}")/..}" && pwd)
mkdir -p "$1"
DIST=$(cd "$1" && pwd)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$TREE" log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
WORK=$(mktemp -d "${TMPDIR:-/tmp}/dist.XXXXXX")
trap 'rm -rf "$WORK"' EXIT

python -m build -qs -o "$DIST" "$TREE"
tar -C "$WORK" --strip-components 1 -xf "$DIST"/asynchat_fast-*.tar.gz
if find "$WORK/asynchat_fast" -name '*.c' -o -name '*.so' | grep .; then
    echo "the sdist has generated files in it" >&2
    exit 1
fi
# The wheel that pip takes where there is no compiled one: it warns of being slow, as its user did not ask for it.
ASYNCHAT_FAST_NO_EXTENSIONS=fallback python -m build -qw -o "$DIST" "$WORK"
twine check --strict "$DIST"/*
check-wheel-contents "$DIST"/*.whl
