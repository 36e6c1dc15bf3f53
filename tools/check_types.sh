#!/usr/bin/env bash
# Check a typed program by mypy and pyright, at their strictest: asynchat_fast is to bring no Any into it.
#
#   tools/check_types.sh PROGRAM     with mypy, pyright and the asynchat_fast that "python" imports on PATH
set -euo pipefail

python=$(command -v python)

report=$(mypy --python-executable "$python" --config-file= --strict --disallow-any-decorated --disallow-any-explicit \
    --disallow-any-expr --disallow-any-unimported "$1") || (($? == 1)) # which says that there are errors
# The constructor of a class may have a parameter of type Any: that of an asyncore map is a dict of anything.
if grep ': error: ' <<<"$report" | grep -v 'has type "type\['; then
    exit 1
fi

if ! pyright --version; then # which npm has to fetch
    echo "SKIP: pyright, which could not be fetched"
    exit
fi
pyright --pythonpath "$python" "$1"
report=$(pyright --pythonpath "$python" --verifytypes asynchat_fast --ignoreexternal) || (($? == 1)) # unless complete
grep 'Type completeness score' <<<"$report"
if ! grep -A 3 'Symbols exported' <<<"$report" | grep 'With unknown type: 0'; then
    grep 'error' <<<"$report"
    exit 1
fi
