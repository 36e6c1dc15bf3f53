"""Make of the benchmarks' figures the tables and plots in docs/performance.md.

    python bench/report.py DIRECTORY [--quick] [--run [NAME ...]]

DIRECTORY has the JSON files that the benchmarks write with --json, of one Python or several.  With --run, the
benchmarks are run first, all or those of that NAME (framing, loop, http ...), and write theirs there.  What stands
between "<!-- figures: NAME -->" and "<!-- end -->" in the page is replaced, where there are figures for it; the plots
go to docs/figures.
"""

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

import _plot
from _common import figure, times_faster

BENCH = Path(__file__).parent
DOCS = BENCH.parent / "docs"
FLOOR = "floor"
STDLIBS = ("asynchat", "pyasynchat", "http.server")


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


def where(report):
    """Return the line that says what a *report* was measured on."""
    versions = {name: version for name, version in report["versions"].items() if version}
    versions |= {row["peer"]: row["version"] for row in report["rows"] if row.get("version")}
    machine = [report["python"], report["machine"], report.get("processor"), report.get("date")]
    named = ", ".join(
        f"{name} {version}" for name, version in sorted(versions.items(), key=lambda each: each[0].lower())
    )
    return f"{', '.join(filter(None, machine))}. {named}."


def table(titles, rows):
    """Return a Markdown table; the first column is text, the others are numbers."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def save(name, svg):
    """Keep *svg* among the figures, and return the Markdown that shows it."""
    (DOCS / "figures").mkdir(exist_ok=True)
    (DOCS / "figures" / f"{name}.svg").write_text(svg, encoding="utf-8")
    title = re.search("<title>(.*?)</title>", svg)[1]
    return f"\n![{title}](figures/{name}.svg)\n"


def suffix(report):
    """Return what tells the plots of different Pythons apart."""
    implementation, version = report["python"].lower().split()
    return f"-{implementation}-{'.'.join(version.split('.')[:2])}"


def with_ratio(own, other):
    """Return *own*, a time, and how many times faster than *other* that is."""
    times = times_faster(other, own)
    return f"{figure(own)} ({times})" if times else figure(own)


def cpu_cells(found, peers, columns):
    """Return the cells of CPU times, *found* by (peer, column), with the ratios to those of the standard library."""
    stdlib = next((peer for peer in peers if peer in STDLIBS), None)
    return {
        (peer, column): with_ratio(found[peer, column], found.get((stdlib, column)) if peer != stdlib else None)
        for peer in peers
        for column in columns
        if (peer, column) in found
    }


# A function for each benchmark, which makes Markdown of a report


def by_unit(report):
    """Yield a Markdown table for each unit in the rows of *report*, which have nanoseconds by peer."""
    for unit in dict.fromkeys(row["unit"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["unit"] == unit]
        peers = list(dict.fromkeys(peer for row in rows for peer in (*row["ns"], *row.get("too_slow", ()))))
        stdlib = next((peer for peer in peers if peer in STDLIBS), None)
        cells = []
        for row in rows:
            other = {peer: row["ns"].get(stdlib) if peer not in (stdlib, FLOOR) else None for peer in peers}
            late = dict.fromkeys(row.get("too_slow", ()), "too slow")
            shown = {peer: with_ratio(own, other[peer]) for peer, own in row["ns"].items()}
            cells.append([row["case"], *(shown.get(peer, late.get(peer, "")) for peer in peers)])
        yield "\n" + table([f"ns per {unit}", *peers], cells)


def framing(report):
    first = report["rows"][0]
    plot = _plot.bars(f"{first['case']}: ns per {first['unit']}", first["ns"])
    return save("framing" + suffix(report), plot) + "".join(by_unit(report))


def http_head(report):
    return "".join(by_unit(report))


def echo(report):
    rows = {(row["peer"], row["at_once"]): row for row in report["rows"]}
    depths, peers = sorted({depth for _, depth in rows}), list(dict.fromkeys(peer for peer, _ in rows))
    titles = [f"CPU µs, {depth} at once" for depth in depths] + [f"requests/s, {depth} at once" for depth in depths]
    cpu = cpu_cells({key: row["cpu_us"] for key, row in rows.items()}, peers, depths)
    cells = [
        [peer, *(cpu[peer, depth] for depth in depths)]
        + [figure(rows[peer, depth]["requests_per_second"]) for depth in depths]
        for peer in peers
    ]
    return "\n" + table(["server", *titles], cells)


def loop(report):
    rows = [row for row in report["rows"] if "cpu_us" in row]
    found = {(row["peer"], (row["connections"], row["at_once"], row["idle"])): row["cpu_us"] for row in rows}
    columns, peers = list(dict.fromkeys(column for _, column in found)), list(dict.fromkeys(peer for peer, _ in found))
    titles = [
        f"1 beside {idle:,} idle" if idle else f"{connections} connections, {depth} at once"
        for connections, depth, idle in columns
    ]
    cpu = cpu_cells(found, peers, columns)
    text = "\n" + table(
        ["CPU µs a request", *titles], [[peer, *(cpu.get((peer, column), "") for column in columns)] for peer in peers]
    )
    idle = [row for row in report["rows"] if "octets_per_idle_connection" in row]
    if idle:
        cells = [[row["peer"], figure(row["octets_per_idle_connection"])] for row in idle]
        text += "\n" + table(["one idle connection", "resident octets"], cells)
    lines = {
        peer: [(row["idle"], row["cpu_us"]) for row in rows if row["peer"] == peer and row["idle"]] for peer in peers
    }
    lines = {peer: points for peer, points in lines.items() if len(points) > 1}
    if lines:
        title = "CPU time of the server for one request, beside idle connections"
        text += save("loop" + suffix(report), _plot.plot(title, "idle connections", "microseconds", lines))
    return text


def file(report):
    cells = [
        [row["peer"], figure(row["cpu_ms"]), figure(row["octets_per_second"] / (1 << 20))] for row in report["rows"]
    ]
    size = report["rows"][0]["octets"] >> 20
    return "\n" + table([f"a file of {size:,} MiB", "CPU ms", "MiB/s"], cells)


def http(report):
    rows = {(row["peer"], row["case"]): row for row in report["rows"]}
    cases, peers = list(dict.fromkeys(case for _, case in rows)), list(dict.fromkeys(peer for peer, _ in rows))
    cpu = cpu_cells({key: row["cpu_us"] for key, row in rows.items()}, peers, cases)
    speed = {key: figure(row["requests_per_second"]) for key, row in rows.items()}
    text = ""
    for cells, unit in (cpu, "CPU µs a request"), (speed, "requests/s"):
        shown = [[peer, *(cells.get((peer, case), "") for case in cases)] for peer in peers]
        text += f"\n{table([unit, *cases], shown)}"
    bars = {peer: rows[peer, cases[0]]["cpu_us"] for peer in peers if (peer, cases[0]) in rows}
    return text + save("http" + suffix(report), _plot.bars(f"{cases[0]}: CPU time of the server, µs", bars))


MAKERS = {"framing": framing, "echo": echo, "loop": loop, "file": file, "http": http, "http_head": http_head}


def write_page(reports, page):
    """Put what there is of *reports* into *page*; return the names of the benchmarks that it has."""
    text = page.read_text(encoding="utf-8")
    for name, maker in MAKERS.items():
        if name not in reports:
            continue
        made = "".join(f"\n{where(report)}\n{maker(report)}" for report in reports[name])
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
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="where their JSON files are")
    options = parser.parse_args()
    if options.run is not None:
        run_benchmarks(options.run, options.quick, options.directory)
    reports = read_reports(options.directory)
    if not reports.keys() & MAKERS.keys():
        sys.exit(f"error: there are no figures in {options.directory}")
    write_page(reports, DOCS / "performance.md")
    print(f"docs/performance.md has the figures of: {', '.join(name for name in MAKERS if name in reports)}")


if __name__ == "__main__":
    main()
