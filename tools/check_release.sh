#!/usr/bin/env bash
# Fail unless a directory holds all files of a release, and nothing else: the sdist, the plain wheel, the compiled ones.
#
#   tools/check_release.sh DIRECTORY     needs the dependency group "lint" on PATH
#
# On a tag (GITHUB_REF_TYPE, GITHUB_REF_NAME) the version must be the tag's.
set -euo pipefail

DIST=$1
VERSION=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$(dirname "${BASH_SOURCE[0]}")/../asynchat_fast/_version.py")
if [[ ${GITHUB_REF_TYPE-} == tag && $GITHUB_REF_NAME != "v$VERSION" ]]; then
    echo "the tag is $GITHUB_REF_NAME, the version $VERSION" >&2
    exit 1
fi

identifiers() { # those of the wheels at hand, as cibuildwheel has them, and the names of other files
    local file tags
    for file in "$DIST"/*; do
        file=${file##*/}
        tags=${file#"asynchat_fast-$VERSION-"}
        case $file in
        "asynchat_fast-$VERSION"-cp3*.whl)
            tags=$(sed -E 's/^(cp[0-9]+)-(cp[0-9]+t?)-/\2-/; s/\.whl$//; s/-manylinux.*_(x86_64|aarch64)/-manylinux_\1/
                s/-musllinux_[0-9]_[0-9]_/-musllinux_/; s/-macosx_[0-9]+_[0-9]+_/-macosx_/' <<<"$tags")
            echo "$tags"
            ;;
        *) echo "$file" ;;
        esac
    done
}

{
    echo "asynchat_fast-$VERSION-py3-none-any.whl"
    echo "asynchat_fast-$VERSION.tar.gz"
    "${BASH_SOURCE[0]%/*}/wheel_identifiers.sh" 2>/dev/null
} | LC_ALL=C sort | diff - <(identifiers | LC_ALL=C sort)
twine check --strict "$DIST"/*
check-wheel-contents "$DIST"/*.whl
