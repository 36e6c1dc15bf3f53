#!/usr/bin/env bash
# Fuzz the compiled modules, each against its twin of plain Python, and C headers, under the address sanitizer.
#
#   tools/fuzz.sh [SECONDS [TARGET...]]      by default 60 s for each fuzz/fuzz_*.py and each build of fuzz/fuzz_*.c
#
# Targets in C need gcc only, the others clang on PATH, or CLANG=clang-16, gcc, and a python3, or PYTHON=python3.13, that atheris has a wheel for.
# CORPUS=DIRECTORY keeps what was found interesting; what fails is left as crash-* in the current directory.
set -euo pipefail

TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
WORK=$(mktemp -d "${TMPDIR:-/tmp}/fuzz.XXXXXX")
trap 'rm -rf "$WORK"' EXIT
SECONDS_EACH=${1:-60}
shift $(($# > 0))
(($#)) || set -- "$TREE"/fuzz/fuzz_*.{c,py}
failed=0

targets=()
for target; do
    if [[ $target != *.c ]]; then
        targets+=("$target")
        continue
    fi
    for build in -O2 -DSEARCH_NO_VECTORS; do
        echo "===== $target $build"
        gcc -std=gnu11 -g -O1 -Wall -Wextra -fsanitize=address,undefined -fno-sanitize-recover=all "$build" \
            -o "$WORK/fuzz" "$target"
        "$WORK/fuzz" "$SECONDS_EACH" || failed=1
    done
done
((${#targets[@]})) || exit "$failed"

"${PYTHON:-python3}" -m venv "$WORK/venv"
PATH=$WORK/venv/bin:$PATH
pip install -q atheris cython setuptools "pyasyncore; python_version >= '3.12'"
cp -R "$TREE/asynchat_fast" "$WORK"
find "$WORK/asynchat_fast" \( -name '*.so' -o -name '*.c' \) -delete
read -r include suffix < <(python -c "
import sysconfig
print(sysconfig.get_path('include'), sysconfig.get_config_var('EXT_SUFFIX'))")
(cd "$WORK" && find asynchat_fast -name '*.pyx') | while read -r source; do
    base=$WORK/${source%.pyx}
    (cd "$WORK" && cython -3 "$source")
    "${CLANG:-clang}" -c -fPIC -g -O1 -fno-omit-frame-pointer -fsanitize=address,fuzzer-no-link -I"$include" \
        -o "$base.o" "$base.c"
    gcc -shared -o "$base$suffix" "$base.o"
done

export PYTHONPATH=$WORK PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0
preload=$(python -c "import atheris, pathlib; print(pathlib.Path(atheris.__file__).parents[1] / 'asan_with_fuzzer.so')")
for target in "${targets[@]}"; do
    echo "===== $target"
    corpus=${CORPUS:-$WORK/corpus}/$(basename "$target" .py)
    mkdir -p "$corpus"
    LD_PRELOAD=$preload python "$target" "$corpus" -max_total_time="$SECONDS_EACH" -max_len=1024 -print_final_stats=1 || failed=1
done
exit "$failed"
