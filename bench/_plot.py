"""Figures as SVG, by matplotlib: panels side by side, each peer named where it is drawn."""

import io
from statistics import quantiles

OURS_COLOUR, STDLIB_COLOUR, FLOOR_COLOUR, OTHER_COLOUR = "#0b6e4f", "#b3261e", "#c8ccd0", "#7f8a96"
LINE_COLOURS = ("#6a8d2f", "#d9772b", "#3457a6", "#7d9be0", "#6b3fa0", "#b090d8", "#8a5a44", "#1f9e74", "#5f6368")
LOWER_IS_BETTER = "lower is better"
BAR_INCHES = 0.21


def colour_of(peer):
    if peer.startswith("asynchat_fast"):
        return OURS_COLOUR
    if peer in ("asynchat", "pyasynchat", "http.server"):
        return STDLIB_COLOUR
    return FLOOR_COLOUR if peer == "floor" else OTHER_COLOUR


def spread(rounds):
    """Return the best of *rounds* and how far above it three of four of them end."""
    best = min(rounds)
    return best, (quantiles(rounds, n=4)[2] - best if len(rounds) > 1 else 0.0)


class Bars:
    """A panel of bars from zero on: *cases* is case -> peer -> what the rounds took."""

    def __init__(self, title, unit, cases):
        self.title, self.unit, self.cases = title, unit, cases
        self.rows = sum(len(peers) + 1.6 for peers in cases.values())

    def draw(self, axes):
        y, names, places = 0.0, [], []
        most = max(max(rounds) for peers in self.cases.values() for rounds in peers.values())
        for case, peers in self.cases.items():
            axes.text(0, y - 0.1, case, fontweight="bold", va="bottom")
            for peer, rounds in peers.items():
                y += 1
                best, above = spread(rounds)
                axes.barh(y - 0.5, best, 0.8, xerr=[[0], [above]], color=colour_of(peer), ecolor="#202124", capsize=2)
                axes.text(best + above + most / 100, y - 0.5, f"{best:,.{0 if best >= 20 else 1}f}", va="center")
                names.append(peer)
                places.append(y - 0.5)
            y += 1.6
        axes.set_yticks(places, names)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(y - 1.4, -1.2)
        axes.set_xlim(0, most * 1.12)
        axes.set_title(self.title, loc="left")
        axes.set_xlabel(f"{self.unit} ({LOWER_IS_BETTER})")


class Lines:
    """A panel of lines on logarithmic axes: *lines* is peer -> (x, what the rounds took) of each point."""

    rows = 0

    def __init__(self, title, x_title, unit, lines):
        self.title, self.x_title, self.unit, self.lines = title, x_title, unit, lines

    def draw(self, axes):
        axes.set_xscale("log")
        axes.set_yscale("log")
        ends = {}
        for index, (peer, points) in enumerate(self.lines.items()):
            known = colour_of(peer)
            colour = LINE_COLOURS[index % len(LINE_COLOURS)] if known == OTHER_COLOUR else known
            style = {"linewidth": 2.5} if index == 0 else {"linewidth": 1.2}
            xs = [x for x, _ in points]
            bests, lengths = zip(*(spread(rounds) for _, rounds in points), strict=True)
            axes.errorbar(xs, bests, yerr=[[0] * len(xs), lengths], color=colour, capsize=2, **style)
            ends[peer] = (xs[-1], bests[-1], colour)
        self.name(axes, ends)
        axes.set_title(self.title, loc="left")
        axes.set_xlabel(self.x_title)
        axes.set_ylabel(f"{self.unit} ({LOWER_IS_BETTER})")

    def name(self, axes, ends):
        """Write the peers' names beside the *ends* of their lines, so far apart that they can be read."""
        low, high = axes.get_ylim()
        step = (high / low) ** 0.045
        height = 0.0
        for peer, (x, y, colour) in sorted(ends.items(), key=lambda each: each[1][1]):
            height = max(y, height * step)
            axes.annotate(
                f"{peer}: {y:,.{0 if y >= 20 else 1}f}",
                (x, y),
                (1.03, height),
                xycoords="data",
                textcoords=axes.get_yaxis_transform(),
                color=colour,
                va="center",
                arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6, "relpos": (0, 0.5)},
            )


def figure(title, panels):
    """Return the SVG of *panels*, side by side."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    settings = {"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 9, "axes.titlesize": 10}
    settings |= {"axes.spines.top": False, "axes.spines.right": False}
    with pyplot.rc_context(settings):
        height = max(4.5, 1 + BAR_INCHES * max(panel.rows for panel in panels))
        drawn, all_axes = pyplot.subplots(1, len(panels), figsize=(6 * len(panels), height), squeeze=False)
        for axes, panel in zip(all_axes[0], panels, strict=True):
            panel.draw(axes)
        drawn.suptitle(title, fontweight="bold")
        drawn.tight_layout()
        file = io.StringIO()
        drawn.savefig(file, format="svg", metadata={"Date": None, "Title": title})
        pyplot.close(drawn)
    return file.getvalue()
