"""The interpreter's own suites, where it ships them, with asynchat_fast swapped in.

Each suite is run as it is, and in some ways with asynchat_fast in the place of the module it tests,
or that serves what it tests; at once, as they wait more than they work, and each in a process of its
own.  A test that passes as it is must pass in each way.  Run as a program, this file is one such process.
"""

import importlib.util
import json
import os
import subprocess
import sys
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

SUITES = ["test_asynchat", "test_asyncore", "test_smtpd", "test_smtplib", "test_ftplib", "test_poplib"]
AS_IT_IS = "as it is"
WITH_LOOP = "swapped, with the loop"
WAYS = {
    AS_IT_IS: {},
    "swapped": {},
    "swapped, plain": {"ASYNCHAT_FAST_NO_EXTENSIONS": "1"},
    WITH_LOOP: {},
}
# The package is not imported here: a suite as it is must not meet it.
PACKAGE = Path(importlib.util.find_spec("asynchat_fast").origin).parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}


class Passed(unittest.TestResult):
    """Keeps the names of the tests that passed, too."""

    def __init__(self):
        super().__init__()
        self.passed = []

    def addSuccess(self, test):
        super().addSuccess(test)
        self.passed.append(test.id())


def swap_in(**options):
    """Put asynchat_fast where the suites of this interpreter import asynchat from."""
    import asynchat_fast

    asynchat_fast.install(**options)
    if sys.version_info >= (3, 12):  # the suites came to have an asynchat and an asyncore of their own
        import test.support

        sys.modules["test.support.asynchat"] = test.support.asynchat = asynchat_fast
        sys.modules["test.support.asyncore"] = test.support.asyncore = asynchat_fast.asyncore


def descendants(cls):
    return {each for child in cls.__subclasses__() for each in {child, *descendants(child)}}


def run_here(suite, how):
    """Run *suite* in this process; print as JSON which tests passed, which did not, and the objects served."""
    report, sys.stdout = sys.stdout, sys.stderr
    if how != AS_IT_IS:
        swap_in(loop=how == WITH_LOOP)
    import test.support

    test.support.use_resources = []  # none of those that must be asked for, such as the network
    result = Passed()
    unittest.defaultTestLoader.loadTestsFromName(f"test.{suite}").run(result)
    channels = descendants(sys.modules["asynchat_fast"].async_chat) if "asynchat_fast" in sys.modules else ()
    json.dump(
        {
            "passed": result.passed,
            "failed": {test.id(): trace for test, trace in result.errors + result.failures},
            "channels": sorted(cls.__module__ for cls in channels),
        },
        report,
    )


def run_apart(suite, how, directory):
    directory.mkdir()
    process = subprocess.run(
        [sys.executable, __file__, suite, how],
        cwd=directory,
        env=ENVIRONMENT | WAYS[how],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.parametrize("suite", SUITES)
def test_conformance(suite, tmp_path):
    try:
        shipped = importlib.util.find_spec(f"test.{suite}")
    except ModuleNotFoundError:
        shipped = None
    if not shipped:
        pytest.skip(f"this Python ships no test.{suite}")
    with ThreadPoolExecutor(len(WAYS)) as pool:
        running = {how: pool.submit(run_apart, suite, how, tmp_path / how) for how in WAYS}
    theirs, *ours = [each.result() for each in running.values()]
    assert theirs["passed"]
    assert not theirs["channels"]
    for how, outcome in zip([*WAYS][1:], ours, strict=True):
        lost = set(theirs["passed"]) - set(outcome["passed"])
        assert not lost, "\n".join([how, *sorted(lost), *outcome["failed"].values()])
        if suite != "test_asyncore":  # which knows nothing of asynchat, and must not be disturbed by it
            assert outcome["channels"], f"{how}: asynchat_fast did not serve"


if __name__ == "__main__":
    run_here(*sys.argv[1:])
