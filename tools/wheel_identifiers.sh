#!/usr/bin/env bash
# Print the wheels that cibuildwheel is configured to build, and fail unless they are all those that a release has.
#
#   tools/wheel_identifiers.sh     needs cibuildwheel on PATH
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wanted() { # every CPython on every system, an identifier a line
    printf '%s\n' cp3{10,11,12,13,14,15,14t,15t}-{{many,musl}linux_{x86_64,aarch64},macosx_{x86_64,arm64},win_{amd64,arm64}}
}

configured() {
    local platform
    for platform in linux macos windows; do
        cibuildwheel --print-build-identifiers --platform "$platform"
    done
}

identifiers=$(configured)
echo "$identifiers"
diff <(LC_ALL=C sort <<<"$identifiers") <(wanted | LC_ALL=C sort) >&2
