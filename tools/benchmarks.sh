#!/usr/bin/env bash
# Run the benchmarks on one Python or several, and write their tables and plots to docs/performance.md.
#
#   tools/benchmarks.sh DIRECTORY PYTHON [PYTHON...]      the JSON files go to DIRECTORY
#
# Each PYTHON gets a venv with asynchat_fast, compiled, and its peers.  The first, which should be a profiled build, runs
# all benchmarks (half an hour), the others those that work in memory.  NAMES="framing loop" runs these only; QUICK=1
# makes it a smoke test.  redis-server, wrk and nginx are peers and clients where they are installed.
set -euo pipefail

TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
DIRECTORY=$(mkdir -p "$1" && cd "$1" && pwd)
shift
WORK=$(mktemp -d "${TMPDIR:-/tmp}/benchmarks.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
unset PYTHONPATH ASYNCHAT_FAST_NO_EXTENSIONS

"$1" -m venv "$WORK/tools" # its pip installs in the other venvs, whose Pythons may have none
"$WORK/tools/bin/pip" install -q --upgrade pip
names=${NAMES-framing channel echo loop file http http_head}
wanted=(".[bench]")
count=0
for python; do
    ((++count))
    venv=$WORK/venv$count
    "$python" -m venv --without-pip "$venv"
    cp -R "$TREE" "$WORK/tree$count" # setuptools builds in the tree
    find "$WORK/tree$count/asynchat_fast" \( -name '*.so' -o -name '*.c' \) -delete
    (cd "$WORK/tree$count" && "$WORK/tools/bin/pip" --python "$venv/bin/python" install -q --prefer-binary "${wanted[@]}")
    read -ra selected <<<"$names"
    "$venv/bin/python" "$TREE/bench/report.py" "$DIRECTORY" --no-page ${QUICK:+--quick} --run "${selected[@]}"
    names=$(for name in $names; do [[ $name != framing && $name != channel ]] || echo -n "$name "; done)
    wanted=(. twisted "pyasynchat>=1.0.4; python_version>='3.12'")
done
"$WORK/venv1/bin/python" "$TREE/bench/report.py" "$DIRECTORY"
