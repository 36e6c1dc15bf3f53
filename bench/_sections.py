"""The Markdown of each benchmark's figures, and the plots that it shows."""

import importlib.util
from pathlib import Path

import _plot
from _common import figure, times_faster

DOCS = Path(__file__).parents[1] / "docs"
FLOOR = "floor"
STDLIBS = ("asynchat", "pyasynchat", "http.server")
SERVER_TITLE = "A {} server: its CPU time, system calls included"


def python_of(report):
    """Return which Python a *report* is of, and how that was built."""
    return f"{report['python']} ({report['build']})" if report.get("build") else report["python"]


def reference(reports):
    """Return the one of *reports* whose tables are shown: the first of a profiled build, if any is."""
    profiled = [report for report in reports if report.get("build") in ("profiled", "a distribution's build")]
    return (profiled or reports)[0]


def where(report):
    """Return the line that says what a *report* was measured on."""
    versions = {name: version for name, version in report["versions"].items() if version}
    versions |= {row["peer"]: row["version"] for row in report["rows"] if row.get("version")}
    machine = [python_of(report), report["machine"], report.get("processor"), report.get("date")]
    named = ", ".join(
        f"{name} {version}" for name, version in sorted(versions.items(), key=lambda each: each[0].lower())
    )
    return f"{', '.join(filter(None, machine))}. {named}."


def table(titles, rows):
    """Return a Markdown table; the first column is text, the others are numbers."""
    lines = [titles, ["---", *["---:"] * (len(titles) - 1)], *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def save(name, title, panels):
    """Draw *panels* among the figures, and return the Markdown that shows them; without matplotlib, keep the figure."""
    if importlib.util.find_spec("matplotlib"):
        (DOCS / "figures").mkdir(exist_ok=True)
        (DOCS / "figures" / f"{name}.svg").write_text(_plot.figure(title, panels), encoding="utf-8")
    else:
        print(f"matplotlib is not installed: docs/figures/{name}.svg stays as it is")
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


def bars(title, unit, rows, cases):
    """Return the panel of those *cases* that *rows* have, of all peers but the plain twin."""
    found = {row["case"]: row.get("rounds") or {peer: [ns] for peer, ns in row["ns"].items()} for row in rows}
    shown = {
        case: {peer: each for peer, each in found[case].items() if peer != "plain"} for case in cases if case in found
    }
    return _plot.Bars(title, unit, shown) if shown else None


def framing(report):
    rows = report["rows"]
    names = [row["case"] for row in rows]
    many = [name for name in names if "64 KiB reads" in name and not name.startswith("1 KB")]
    one = [name for name in names if "one a read" in name]
    panels = [
        bars("many a read of 64 KiB", "ns each", rows, many),
        bars("one a read", "ns each", rows, one),
    ]
    text = "".join(by_unit(report))
    if not all(panels):
        return text
    return save("framing" + suffix(report), "Lines and frames: CPU time, in memory", panels) + text


def channel(report):
    timed = {**report, "rows": [row for row in report["rows"] if "ns" in row]}
    sizes = [[row["peer"], figure(row["bytes"])] for row in report["rows"] if "bytes" in row]
    return "".join(by_unit(timed)) + ("\n" + table(["one idle connection", "bytes"], sizes) if sizes else "")


def by_python(reports):
    """Return a table of asynchat_fast's times by the Pythons of *reports*, with the ratios to their asynchat."""
    rows = [row for report in reports for row in report["rows"] if "ns" in row]
    cases = list(dict.fromkeys((row["case"], row["unit"]) for row in rows))
    cells = []
    for case, unit in cases:
        cells.append([f"{case}, ns per {unit}"])
        for report in reports:
            times = next((row["ns"] for row in report["rows"] if row.get("case") == case), {})
            stdlib = next((times[peer] for peer in STDLIBS if peer in times), None)
            own = times.get("asynchat_fast")
            cells[-1].append(with_ratio(own, stdlib) if own else "")
    return "\n" + table(["asynchat_fast", *map(python_of, reports)], cells)


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
    idle = [row for row in report["rows"] if "bytes_per_idle_connection" in row]
    if idle:
        cells = [[row["peer"], figure(row["bytes_per_idle_connection"])] for row in idle]
        text += "\n" + table(["one idle connection", "resident bytes"], cells)
    busy = {}
    for row in rows:
        if not row["idle"] and row["peer"] != "plain":
            case = f"{row['connections']} connections, {row['at_once']} at once"
            busy.setdefault(case, {})[row["peer"]] = rounds_of(row)
    lines = {
        peer: [(row["idle"], rounds_of(row)) for row in rows if row["peer"] == peer and row["idle"]] for peer in peers
    }
    lines = {peer: points for peer, points in lines.items() if len(points) > 1}
    if busy and lines:
        panels = [
            _plot.Bars("many connections", "µs a request", busy),
            _plot.Lines("one busy connection beside idle ones", "idle connections", "µs a request", lines),
        ]
        text += save("loop" + suffix(report), SERVER_TITLE.format("line"), panels)
    return text


def asyncio(report):
    rows = [row for row in report["rows"] if "cpu_us" in row]
    found = {(row["peer"], row["at_once"]): row["cpu_us"] for row in rows}
    depths, peers = sorted({depth for _, depth in found}), list(dict.fromkeys(peer for peer, _ in found))
    cells = [[peer, *(figure(found[peer, depth]) for depth in depths)] for peer in peers]
    text = "\n" + table(["CPU µs a request", *(f"{depth} at once" for depth in depths)], cells)
    late = [
        [row["loop"], *(f"{1e3 * row[key]:.2f}" for key in ("late_median", "late_99"))]
        for row in report["rows"]
        if "late_median" in row
    ]
    return text + "\n" + table(["a timer of 1 ms beside a flood, late by ms", "median", "99 %"], late)


def tls(report):
    shown = {  # heading -> (name of the figure, the unit)
        "µs a request": ("one", 1e6),
        "16 at once": ("at once", 1e6),
        "µs a GET": ("get", 1e6),
        "µs a handshake": ("handshake", 1e6),
        "KiB idle": ("idle", 1 / 1024),
        "ms a GB of file": ("file", 1e3),
    }
    cells = [
        [row["peer"], *(figure(row[name] * unit) if name in row else "" for name, unit in shown.values())]
        for row in report["rows"]
    ]
    return "\n" + table(["over TLS 1.3", *shown], cells)


def rounds_of(row):
    return row.get("cpu_us_rounds") or [row["cpu_us"]]


def file(report):
    cells = [
        [row["peer"], figure(row["cpu_ms"]), figure(row["bytes_per_second"] / (1 << 20))] for row in report["rows"]
    ]
    size = report["rows"][0]["bytes"] >> 20
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
    panels = []
    for case in cases[:1] + [case for case in cases[1:] if "at once" in case][:1]:
        found = {peer: rounds_of(rows[peer, case]) for peer in peers if (peer, case) in rows}
        title = "one at a time" if case == cases[0] else "many at once"
        panels.append(_plot.Bars(title, "µs a request", {case: found}))
    return text + save("http" + suffix(report), SERVER_TITLE.format("web"), panels)


def workers(report):
    lost, cpu, spread = {}, [], []
    for row in report["rows"]:
        if "fault" in row:
            lost.setdefault(row["peer"], {})[row["fault"]] = f"{row['fresh']['lost']} / {row['kept']['lost']}"
        elif "cpu_us" in row:
            cpu.append([row["peer"], str(row["workers"]), figure(row["cpu_us"])])
        else:
            mean = sum(row["connections"]) / len(row["connections"])
            spread.append([row["peer"], f"{max(row['connections']) / mean:.2f}"])
    faults = list(next(iter(lost.values())))
    text = "\n" + table(
        ["requests lost, fresh / kept", *faults], [[peer, *each.values()] for peer, each in lost.items()]
    )
    text += "\n" + table(["CPU µs a request", "workers", "µs"], cpu)
    return text + "\n" + table(["200 lasting connections, 4 workers", "busiest, times the mean"], spread)


MAKERS = {
    "framing": framing,
    "channel": channel,
    "echo": echo,
    "loop": loop,
    "asyncio": asyncio,
    "tls": tls,
    "file": file,
    "http": http,
    "http_head": http_head,
    "workers": workers,
}


def section(name, reports):
    """Return the Markdown of benchmark *name*."""
    shown = reference(reports)
    text = f"\n{where(shown)}\n{MAKERS[name](shown)}"
    return text + by_python(reports) if name in ("framing", "channel") and len(reports) > 1 else text
