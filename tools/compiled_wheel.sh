#!/usr/bin/env bash
# Build the compiled wheel of one Python from the sdist.
#
#   tools/compiled_wheel.sh PYTHON SDIST DIRECTORY
#
# Needs pip 22.3 or later and the dependency group "wheels" on PATH.  On Linux the wheel is repaired, so that it suits
# every distribution that its tag names.  The same SOURCE_DATE_EPOCH gives the same wheel.
set -euo pipefail

PYTHON=$1 SDIST=$2
mkdir -p "$3"
WHEELS=$(cd "$3" && pwd)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-315532800} # the first second that a wheel can tell of
WORK=$(mktemp -d "${TMPDIR:-/tmp}/wheel.XXXXXX")
trap 'rm -rf "$WORK"' EXIT

pip --python "$PYTHON" wheel -q --no-deps --no-cache-dir -w "$WORK" "$SDIST"
if [[ $(uname) == Linux ]]; then
    auditwheel repair --strip -w "$WHEELS" "$WORK"/*.whl
else
    mv "$WORK"/*.whl "$WHEELS"
fi
check-wheel-contents "$WHEELS"/*.whl
