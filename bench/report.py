"""Make of the benchmarks' figures the tables and plots in docs/performance.md.

    python bench/report.py DIRECTORY [--quick] [--run [NAME ...]] [--no-page]

DIRECTORY has the JSON files that the benchmarks write with --json, of one Python or several.  With --run, the
benchmarks are run first by this Python, all or those of that NAME (framing, loop, http ...), and write theirs there.
What stands between "<!-- figures: NAME -->" and "<!-- end -->" in the page is replaced, where there are figures for it;
the plots, which need matplotlib, go to docs/figures.  Tables and plots are those of one Python, a profiled build if
there is one; what runs in memory stands in one more table, which has a column for each Python.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

from _sections import DOCS, MAKERS, section

BENCH = Path(__file__).parent


def run_benchmarks(names, quick, directory):
    """Run those of *names*, or all, one after the other; what fails is said, and the others run."""
    directory.mkdir(parents=True, exist_ok=True)
    scripts = {script.stem.removeprefix("bench_"): script for script in sorted(BENCH.glob("bench_*.py"))}
    if unknown := set(names) - scripts.keys():
        sys.exit(f"error: there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(scripts)}")
    version = "{}.{}".format(*sys.version_info)
    failed = []
    for name in names or scripts:
        command = [sys.executable, str(scripts[name]), "--json", str(directory / f"{name}-{version}.json")]
        print(f"{name} ...", flush=True)
        if subprocess.run(command + ["--quick"] * quick).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"error: failed: {', '.join(failed)}")


def read_reports(directory):
    """Return the reports in *directory* by the name of the benchmark, those of older Pythons first."""
    reports = {}
    for path in directory.glob("*.json"):
        report = json.loads(path.read_text(encoding="utf-8"))
        reports.setdefault(report["benchmark"], []).append(report)
    for each in reports.values():
        each.sort(key=lambda report: [int(number) for number in re.findall(r"\d+", report["python"])])
    return reports


def write_page(reports, page):
    """Put what there is of *reports* into *page*; return the names of the benchmarks that it has."""
    text = page.read_text(encoding="utf-8")
    for name in MAKERS:
        if name not in reports:
            continue
        made = section(name, reports[name])
        begin, end = f"<!-- figures: {name} -->\n", "\n<!-- end -->"
        head, found, tail = text.partition(begin)
        if not found:
            sys.exit(f"error: {page.name} has no place for {name}, which begins by {begin.strip()}")
        text = head + begin + made + end + tail.partition(end)[2]
    page.write_text(text, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", nargs="*", metavar="NAME", help="run the benchmarks first, all or these")
    parser.add_argument("--quick", action="store_true", help="run them with --quick: a smoke test, not figures")
    parser.add_argument("--no-page", action="store_true", help="leave the page as it is: only run the benchmarks")
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="where their JSON files are")
    options = parser.parse_args()
    if options.run is not None:
        run_benchmarks(options.run, options.quick, options.directory)
    if options.no_page:
        return
    reports = read_reports(options.directory)
    if not reports.keys() & MAKERS.keys():
        sys.exit(f"error: there are no figures in {options.directory}")
    write_page(reports, DOCS / "performance.md")
    print(f"docs/performance.md has the figures of: {', '.join(name for name in MAKERS if name in reports)}")


if __name__ == "__main__":
    main()
