#!/usr/bin/env bash
# Run on a free-threaded Python the tests of threads, then those that share nothing, each in many threads at once.
#
#   tools/parallel_tests.sh PYTHON DISTRIBUTION [PYTEST ARGUMENT...]     e.g. python3.14t .
#
# Fails, too, if the package brings the GIL back.  tools/free_threaded_python.sh builds such a PYTHON.
set -euo pipefail

TOOLS=$(dirname "${BASH_SOURCE[0]}")
# Fixtures that a test must have to itself: pytest-run-parallel sets them up once for all runs of a test, so tests that
# use them are left out.  So are memoryviews as parameters: on CPython 3.13 several threads must not make views of one.
SHARED=$(printf '%s\n' chat coalescing eager_switching loop_until map pair reference run_python tmp_path)
APART="not memoryview and not bytes_like and not terminator6"

"$1" -c "import sysconfig; assert sysconfig.get_config_var('Py_GIL_DISABLED'), 'not free-threaded'"
"$TOOLS/test_installed.sh" "$1" compiled "$2" tests/test_threads.py tests/test_timers.py "${@:3}"
export REQUIREMENTS=pytest-run-parallel
export PYTHON_GIL=0 # which the peers that some tests compare with may bring back
"$TOOLS/test_installed.sh" "$1" compiled "$2" -n 0 --parallel-threads=8 --iterations=5 --skip-thread-unsafe=true \
    -o "thread_unsafe_fixtures=$SHARED" -k "$APART" \
    tests/test_framing.py tests/test_producers.py tests/test_conversation.py tests/test_http_head.py "${@:3}"
