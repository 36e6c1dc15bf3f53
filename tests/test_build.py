"""setup.py: how a build without a compiler ends, and the mark of one that is to be plain."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
if not (ROOT / "setup.py").exists():
    pytest.skip("these tests are not in a source tree, so there is no setup.py", allow_module_level=True)
pytest.importorskip("setuptools", reason="setuptools, which builds the package, is not installed", minversion="80")


@pytest.fixture
def build(tmp_path):
    """A function that runs setup.py with a command, in a copy of the tree that has one small module to compile."""
    away = shutil.ignore_patterns("*.pyx", "*.so", "*.pyd", "*.c", "__pycache__", "_plain_build.py")
    shutil.copytree(ROOT / "asynchat_fast", tmp_path / "asynchat_fast", ignore=away)
    for name in "setup.py", "pyproject.toml", "README.md", "LICENSE":
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "asynchat_fast" / "http" / "_small.pyx").write_text("cdef int one = 1\n")

    def run(*command, no_extensions="", **environment):
        return subprocess.run(
            [sys.executable, "setup.py", "-q", *command],
            cwd=tmp_path,
            env=os.environ | {"ASYNCHAT_FAST_NO_EXTENSIONS": no_extensions} | environment,
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="nothing is compiled for PyPy")
@pytest.mark.skipif(os.name == "nt", reason="the compiler of Windows is not chosen by CC")
def test_a_build_without_a_compiler_ends_with_what_to_install(build, tmp_path):
    pytest.importorskip("Cython", reason="Cython, which the build needs, is not installed")
    process = build("build_ext", CC="no-such-compiler")
    assert process.returncode == 1
    *_, said = process.stderr.splitlines()
    assert "install a C compiler" in said
    assert "ASYNCHAT_FAST_NO_EXTENSIONS=1" in said
    assert "no-such-compiler" in process.stderr
    assert not list(tmp_path.rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"))


@pytest.mark.parametrize(("asked", "is_marked"), [("1", True), ("", False), ("fallback", False)])
def test_the_mark_of_a_plain_build(build, tmp_path, asked, is_marked):
    for no_extensions in {"1": "an earlier build", asked: "this one"}:
        process = build("build_py", "--build-lib=built", no_extensions=no_extensions)
        assert process.returncode == 0, process.stderr
    assert (tmp_path / "built" / "asynchat_fast" / "_plain_build.py").exists() == is_marked


def test_a_plain_build_compiles_nothing(build, tmp_path):
    process = build("build_ext", no_extensions="1")
    assert process.returncode == 0, process.stderr
    assert not (tmp_path / "asynchat_fast" / "http" / "_small.c").exists()
