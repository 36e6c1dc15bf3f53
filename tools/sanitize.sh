#!/usr/bin/env bash
# Run tests of the compiled modules under the address and undefined-behaviour sanitizers of gcc.
#
#   tools/sanitize.sh [PYTHON [PYTEST ARGUMENT...]]      by default python3, and the tests that feed them directly
#
# Works in a temporary copy of the tree, in a venv of its own.
set -euo pipefail

TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PYTHON=${1:-python3}
shift $(($# > 0))
WORK=$(mktemp -d "${TMPDIR:-/tmp}/sanitize.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
"$PYTHON" -m venv "$WORK/venv"
PATH=$WORK/venv/bin:$PATH
cp -R "$TREE"/{asynchat_fast,tests,tools,pyproject.toml,setup.py,LICENSE,*.md} "$WORK"
cd "$WORK"
find asynchat_fast \( -name '*.so' -o -name '*.c' \) -delete
pip install -q cython setuptools ".[test]"
pip uninstall -q -y asynchat-fast

read -r include suffix < <(python -c "
import sysconfig
print(sysconfig.get_path('include'), sysconfig.get_config_var('EXT_SUFFIX'))")
find asynchat_fast -name '*.pyx' | while read -r source; do
    cython -3 "$source"
    gcc -shared -fPIC -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined \
        -I"$include" -o "${source%.pyx}$suffix" "${source%.pyx}.c"
done

LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libubsan.so)"
export LD_PRELOAD PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
PYTHONPATH=. python -W error::RuntimeWarning tools/check_compiled.py compiled
(($#)) || set -- tests/test_framing.py tests/test_http_head.py
python -m pytest -p no:cacheprovider "$@"
