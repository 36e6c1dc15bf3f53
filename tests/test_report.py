"""bench/report.py: from the figures that benchmarks write to tables and plots."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import asynchat_fast

ROOT = Path(__file__).parents[1]
if not (ROOT / "bench").is_dir() or not (ROOT / "docs").is_dir():
    pytest.skip("these tests are not in a source tree, so there are no benchmarks", allow_module_level=True)

MEASURED = {
    "framing": [
        {
            "case": "lines, 64 KiB reads",
            "unit": "line",
            "count": 1,
            "ns": {"asynchat_fast": 180.2, "asynchat": 1802.0, "floor": 150.0},
            "too_slow": [],
        },
        {
            "case": "lines, one a read",
            "unit": "line",
            "count": 1,
            "ns": {"asynchat_fast": 200.0, "asynchat": 300.0, "floor": 150.0},
            "rounds": {"asynchat_fast": [200.0, 210.0, 230.0], "asynchat": [300.0, 301.0], "floor": [150.0]},
        },
        {"case": "long", "unit": "line", "count": 1, "ns": {"asynchat_fast": 0.5}, "too_slow": ["asynchat"]},
        {"case": "frames", "unit": "frame", "count": 1, "ns": {"asynchat_fast": 5.0}, "too_slow": []},
    ],
    "echo": [
        {"peer": peer, "at_once": depth, "cpu_us": 10.0 * depth * times, "requests_per_second": 1e5}
        for peer, times in (("asynchat_fast", 1), ("asynchat", 2.5))
        for depth in (1, 16)
    ],
    "loop": [
        *(
            {
                "peer": peer,
                "connections": 1,
                "at_once": 1,
                "idle": idle,
                "cpu_us": idle * 1.5,
                "cpu_us_rounds": [idle * 1.5, idle * 1.6],
                "requests_per_second": 1e4,
            }
            for peer in ("asynchat_fast", "redis-server")
            for idle in (10, 1000)
        ),
        {
            "peer": "asynchat_fast",
            "connections": 50,
            "at_once": 16,
            "idle": 0,
            "cpu_us": 0.7,
            "requests_per_second": 1e5,
        },
        {"peer": "asynchat_fast", "bytes_per_idle_connection": 2000.0},
    ],
    "channel": [
        {"case": "idle", "unit": "channel", "count": 1, "ns": {"asynchat_fast": 60.0, "asynchat": 60.0}},
        {"peer": "asynchat_fast", "bytes": 600.0},
    ],
    "file": [{"peer": "asynchat_fast", "bytes": 1 << 30, "cpu_ms": 120.0, "bytes_per_second": float(1 << 30)}],
    "http": [
        {
            "peer": peer,
            "version": "1.2",
            "case": case,
            "connections": 50,
            "at_once": 1,
            "cpu_us": 30.0,
            "requests_per_second": 3e4,
        }
        for peer, case in (("asynchat_fast", "GET"), ("asynchat_fast", "16 at once"), ("nginx <C>", "GET"))
    ],
    "http_head": [{"case": "GET", "unit": "head", "count": 1, "ns": {"compiled": 200.0, "httptools": 700.0}}],
}


@pytest.fixture
def tree(tmp_path):
    """A copy of the files that the program needs, and a directory of figures."""
    shutil.copytree(ROOT / "bench", tmp_path / "bench")
    (tmp_path / "docs").mkdir()
    shutil.copy(ROOT / "docs" / "performance.md", tmp_path / "docs")
    (tmp_path / "figures").mkdir()
    for name, rows in MEASURED.items():
        report = {
            "benchmark": name,
            "python": "CPython 3.11.7",
            "build": "profiled",
            "machine": "x86_64 Linux",
            "date": "2026-11-25",
            "rows": rows,
        }
        report["versions"] = {"asynchat_fast": "0.1.0", "twisted": None}
        (tmp_path / "figures" / f"{name}.json").write_text(json.dumps(report))
    return tmp_path


def run(tree, *arguments):
    command = [sys.executable, str(tree / "bench" / "report.py"), *arguments]
    environment = {"PYTHONPATH": str(Path(asynchat_fast.__file__).parents[1]), "PYTHONUTF8": "1"}
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=60, env=environment)


def section(page, name):
    text = page.read_text(encoding="utf-8")
    return re.search(f"<!-- figures: {name} -->\n(.*?)\n<!-- end -->", text, re.S)[1]


def test_tables(tree):
    page = tree / "docs" / "performance.md"
    for _ in range(2):  # earlier output is replaced
        process = run(tree, str(tree / "figures"))
        assert (process.returncode, process.stderr) == (0, "")
    framing = section(page, "framing")
    assert framing.count("CPython 3.11.7 (profiled), x86_64 Linux, 2026-11-25. asynchat_fast 0.1.0.") == 1
    assert "| lines, 64 KiB reads | 180 (10x) | 1,802 | 150 |\n" in framing
    assert "| long | 0.500 | too slow |  |\n" in framing
    assert "| asynchat_fast | 10.0 (2.5x) | 160 (2.5x) | 100,000 | 100,000 |\n" in section(page, "echo")
    assert "| asynchat_fast | 15.0 | 1,500 | 0.700 |\n" in section(page, "loop")
    assert "| asynchat_fast | 600 |\n" in section(page, "channel")
    assert "| asynchat_fast | 2,000 |\n" in section(page, "loop")
    assert "| asynchat_fast | 120 | 1,024 |\n" in section(page, "file")
    assert "| nginx <C> | 30.0 |  |\n" in section(page, "http")
    assert "nginx <C> 1.2." in section(page, "http")
    assert "| GET | 200 | 700 |\n" in section(page, "http_head")


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_plots(tree):
    page = tree / "docs" / "performance.md"
    assert run(tree, str(tree / "figures")).returncode == 0
    shown = re.findall(r"\]\((figures/.*?)\)", page.read_text(encoding="utf-8"))
    assert {path.name for path in (tree / "docs" / "figures").iterdir()} == {Path(each).name for each in shown}
    for name in shown:
        image = ElementTree.parse(tree / "docs" / name).getroot()
        assert image.tag.endswith("svg")
        words = ["".join(each.itertext()).strip() for each in image.iter() if each.tag.endswith("text")]
        assert "asynchat_fast" in " ".join(words)
        assert sum("lower is better" in each for each in words) == 2


def test_several_pythons(tree):
    report = json.loads((tree / "figures" / "framing.json").read_text())
    for version, build in ("3.10.1", "not profiled"), ("3.14.1", "profiled"):
        older = report | {"python": f"CPython {version}", "build": build}
        (tree / "figures" / f"framing-{version}.json").write_text(json.dumps(older))
    assert run(tree, str(tree / "figures")).returncode == 0
    framing = section(tree / "docs" / "performance.md", "framing")
    assert "CPython 3.11.7 (profiled), x86_64" in framing  # the first profiled one
    assert "| CPython 3.10.1 (not profiled) | CPython 3.11.7 (profiled) | CPython 3.14.1 (profiled) |\n" in framing
    assert "| frames, ns per frame | 5.00 | 5.00 | 5.00 |\n" in framing


def test_tables_without_new_figures_stay(tree):
    page = tree / "docs" / "performance.md"
    before = section(page, "http")
    (tree / "figures" / "http.json").unlink()
    assert run(tree, str(tree / "figures")).returncode == 0
    assert section(page, "http") == before


@pytest.mark.parametrize("options", [[], ["--run", "unknown"]], ids=["no figures", "no benchmark"])
def test_mistakes(tree, options):
    process = run(tree, str(tree / "nothing"), *options)
    assert process.returncode == 1
    assert process.stderr.startswith("error: ")
    assert process.stderr.count("\n") == 1


@pytest.mark.skipif(not asynchat_fast.COMPILED, reason="the benchmarks are about the compiled module")
def test_a_benchmark_is_run(tree):
    process = run(tree, str(tree / "new"), "--quick", "--run", "http_head")
    assert process.returncode == 0, process.stderr
    assert [path.name.partition("-")[0] for path in (tree / "new").iterdir()] == ["http_head"]
    assert "| GET, 1 field |" in section(tree / "docs" / "performance.md", "http_head")


def test_every_benchmark_has_a_place_in_the_page():
    source = (ROOT / "bench" / "_sections.py").read_text(encoding="utf-8")
    makers = set(re.findall(r'"(\w+)": \1\b', source))
    assert makers == {path.stem.removeprefix("bench_") for path in (ROOT / "bench").glob("bench_*.py")}
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert set(re.findall(r"<!-- figures: (\w+) -->", page)) == makers
