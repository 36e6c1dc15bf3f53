"""``asynchat-fast --benchmark``: it runs the cases that it names, and prints a figure for each."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import asynchat_fast
from asynchat_fast import benchmark, benchmark_cases

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1])}
CASES = benchmark_cases.all_cases(4096)


def delivered(case, *bases):
    """Return the payloads that a peer on *bases* hands to the program of *case*."""
    payloads = []

    def found_terminator(self):
        payloads.append(b"".join(self.incoming))
        cls.found_terminator(self)

    cls = benchmark_cases.peer_class(case, *bases)
    benchmark_cases.prepare(type("Recorder", (cls,), {"found_terminator": found_terminator}), case)()
    return payloads


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_peer_delivers_the_payloads(case):
    channels = [asynchat_fast.async_chat]
    if asynchat := benchmark.find_asynchat():
        channels.append(asynchat.async_chat)
    for channel in channels:
        from_memory = benchmark_cases.with_own_code(benchmark_cases.FromMemory)
        assert delivered(case, from_memory, channel) == case.payloads
    assert delivered(case, benchmark_cases.with_own_code(benchmark_cases.Floor)) == case.payloads
    assert case.count > 0


def rows(printed):
    return [line for line in printed.splitlines() if re.search(r" {2,}[\d,.]+ ", line + " ")]


def test_beside_another_asynchat(capsys):
    if benchmark.find_asynchat() is None:
        pytest.skip(f"{benchmark.STDLIB} is not installed")
    benchmark.main(seconds=0.01, total=4096)
    printed = capsys.readouterr().out
    assert f"InputBuffer: {'compiled' if asynchat_fast.COMPILED else 'plain Python'}" in printed
    assert [row.split("  ")[0] for row in rows(printed)] == [
        *(case.name for case in CASES),
        "an idle channel, a pass of asyncore.loop()",
    ]
    assert f"faster than {benchmark.STDLIB} in" in printed


def test_without_another_asynchat(capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "find_asynchat", lambda: None)
    benchmark.main(seconds=0.01, total=4096)
    printed = capsys.readouterr().out
    assert len(rows(printed)) == len(CASES) + 1
    assert "faster" not in printed
    assert printed.endswith(f"{sys.executable} -m pip install {benchmark.STDLIB}\n")


@pytest.mark.parametrize(
    ("other", "own", "words"),
    [
        (600.0, 100.0, "6.0 times as fast"),
        (5000.0, 100.0, "50 times as fast"),
        (109.0, 100.0, "as fast"),
        (92.0, 100.0, "as fast"),
        (100.0, 244.0, "takes 2.44 times as long"),
    ],
)
def test_ratios_in_words(other, own, words):
    assert benchmark.in_words(other, own) == words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("'--prefix=/opt/python' '--enable-optimizations'", "profiled"),
        ("'--prefix=/usr' '--enable-ipv6'", "a distribution's build"),
        ("'--prefix=/usr/local' '--enable-shared'", "not profiled"),
        (None, "which does not tell how it was built"),
    ],
)
def test_how_this_python_was_built(arguments, words, monkeypatch):
    monkeypatch.setattr("sysconfig.get_config_var", {"CONFIG_ARGS": arguments}.get)
    assert benchmark.build() == words


def test_the_summary_names_what_is_slower():
    comparison = benchmark.Comparison(None, 0)
    comparison.rows = [benchmark.Row("lines", 100.0, 600.0), benchmark.Row("frames", 200.0, 100.0)]
    comparison.rows += [benchmark.Row("text", 100.0, 300.0), benchmark.Row("long text", 108.0, 100.0)]
    assert comparison.summary() == (
        f"asynchat_fast is faster than {benchmark.STDLIB} in 2 of 4 cases (3.0 to 6.0 times as fast), as fast in 1, "
        "and slower in 1: frames."
    )


def test_the_summary_leaves_artificial_cases_out_of_the_range():
    comparison = benchmark.Comparison(None, 0)
    comparison.rows = [benchmark.Row("lines", 100.0, 600.0), benchmark.Row("CR", 1.0, 900.0, is_artificial=True)]
    assert comparison.summary() == (
        f"asynchat_fast is faster than {benchmark.STDLIB} in 2 of 2 cases (6.0 to 6.0 times as fast, without the "
        "artificial streams of one byte), and slower in none."
    )
    assert [case.name for case in CASES if case.is_artificial] == [
        "64 KiB of CR against CR LF",
        "64 KiB of a against aaab",
    ]


@pytest.mark.parametrize("arguments", [["--benchmark", "more"], ["--loop", "--benchmark"]])
def test_options_that_exclude_each_other(arguments):
    command = [sys.executable, "-m", "asynchat_fast", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, env=ENVIRONMENT)
    assert process.returncode == 2
    assert process.stderr.startswith("asynchat-fast: --benchmark ")
    assert process.stderr.count("\n") == 1
