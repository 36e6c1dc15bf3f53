"""No module and no function of the package is so long that it does more than one thing."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "asynchat_fast"
if not PACKAGE.is_dir():
    pytest.skip("these tests are not in a source tree, so the package is not beside them", allow_module_level=True)

MOST_OF_A_FUNCTION = 40  # lines
# Modules, and functions as module:name, that are too long and still to be split.
TO_SPLIT: set[str] = set()


def name_of(path):
    return path.relative_to(PACKAGE).as_posix()


def most_of(path):
    """Return how many lines *path* may have."""
    return 50 if path.name == "__init__.py" else 350 if path.suffix == ".pyx" else 300


SOURCES = sorted(path for path in PACKAGE.rglob("*.py*") if path.suffix in (".py", ".pyi", ".pyx"))
PYTHON_SOURCES = [path for path in SOURCES if path.suffix != ".pyx"]  # ast reads no Cython


@pytest.mark.parametrize("path", SOURCES, ids=map(name_of, SOURCES))
def test_modules_are_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= most_of(path) or name_of(path) in TO_SPLIT


@pytest.mark.parametrize("path", PYTHON_SOURCES, ids=map(name_of, PYTHON_SOURCES))
def test_functions_are_short(path):
    long = {
        f"{name_of(path)}:{node.name}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > MOST_OF_A_FUNCTION
    }
    assert not long - TO_SPLIT
