"""_search.h beside memmem(): right on any input, and nothing outside of it is read."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "fuzz" / "fuzz_search.c"
COMPILER = shutil.which(os.environ.get("CC", "cc"))

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32" or COMPILER is None, reason="needs a C compiler, mmap() and memmem()"),
    pytest.mark.skipif(not SOURCE.exists(), reason="the source is not here: only the package is tested"),
]


@pytest.mark.parametrize("vectors", [[], ["-DSEARCH_NO_VECTORS"]], ids=["vectors", "memchr"])
def test_search_agrees_with_memmem(vectors, tmp_path):
    program = tmp_path / "fuzz_search"
    assert COMPILER is not None
    subprocess.run(
        [COMPILER, "-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", *vectors, "-o", str(program), str(SOURCE)],
        check=True,
    )
    run = subprocess.run([program, "0", "1", "20000"], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout
    assert run.stdout.startswith("20000 cases")
