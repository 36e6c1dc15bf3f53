#!/usr/bin/env bash
# Install a distribution, and test it where nothing else of the source tree is.
#
#   tools/test_installed.sh PYTHON compiled|plain DISTRIBUTION [PYTEST ARGUMENT...]
#
# DISTRIBUTION is a wheel, an sdist or a directory.  From the environment: REQUIREMENTS, what else to install, and PIP,
# the command to install with if PYTHON has no pip, or one older than 22.3.
set -euo pipefail

TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=$1 KIND=$2 DISTRIBUTION=$3
[[ $KIND == compiled ]] || export ASYNCHAT_FAST_NO_EXTENSIONS=1
WORK=$(mktemp -d "${TMPDIR:-/tmp}/installed.XXXXXX")
trap 'cd / && rm -rf "$WORK" || true' EXIT # Windows removes no directory that a process is in

"$PYTHON" -m venv --without-pip "$WORK/venv"
bin=$WORK/venv/bin
[[ -d $bin ]] || bin=$WORK/venv/Scripts # Windows
read -ra pip <<<"${PIP:-$PYTHON -m pip}"
read -ra requirements <<<"${DISTRIBUTION}[test] ${REQUIREMENTS-}"
env -u PYTHON_GIL "${pip[@]}" --python "$WORK/venv" install -q --prefer-binary "${requirements[@]}"
cp "$TREE"/*.md "$TREE/pyproject.toml" "$WORK"
cp -R "$TREE"/{docs,examples,tests} "$WORK"
cd "$WORK"
export PATH=$bin:$PATH
python -VV
asynchat-fast --version
python -W error::RuntimeWarning "$TREE/tools/check_compiled.py" "$KIND"
pytest -n auto "${@:4}"
