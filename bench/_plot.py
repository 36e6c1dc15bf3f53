"""Plots as SVG, and nothing else: lines on logarithmic axes, and bars."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 860, 500
LEFT, RIGHT, TOP, BOTTOM = 80, 230, 46, 60  # margins; the names of the lines are in the right one
COLOURS = ("#0b6e4f", "#1f9e74", "#6a8d2f", "#b3261e", "#d9772b", "#3457a6", "#7d9be0", "#6b3fa0", "#b090d8", "#8a5a44")
REST = "#5f6368"
NAME_HEIGHT = 15


class Axis:
    """Numbers from *low* to *high* and where they are drawn, from *start* to *end*."""

    def __init__(self, low, high, start, end):
        self.low, self.high = math.log10(low), math.log10(high)
        self.start, self.end = start, end

    def at(self, number):
        share = (math.log10(number) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def decades(self):
        return [10.0**power for power in range(math.ceil(self.low), math.floor(self.high) + 1)]


def text(x, y, words, **attributes):
    given = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x}" y="{y}"{given}>{escape(words)}</text>'


def line(x1, y1, x2, y2, colour):
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{colour}"/>'


def svg(title, height, drawn):
    """Return the SVG of what was *drawn* (strs)."""
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img" font-family="sans-serif" font-size="12" fill="#202124">\n<title>{escape(title)}</title>\n'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n{body}\n</svg>\n'
    )


def spread(heights):
    """Return *heights*, from the top, moved apart so far that names beside them can be read."""
    moved = []
    for height in heights:
        moved.append(max(height, moved[-1] + NAME_HEIGHT) if moved else height)
    overhang = max(moved[-1] - (HEIGHT - BOTTOM), 0)
    for index in range(len(moved) - 1, -1, -1):
        below = moved[index + 1] - NAME_HEIGHT if index + 1 < len(moved) else moved[index] - overhang
        moved[index] = min(moved[index], below)
    return moved


def plot(title, x_title, y_title, lines):
    """Return an SVG of *lines*: name -> list of (x, y), all above zero; the first is drawn thicker."""
    points = [point for series in lines.values() for point in series]
    xs, ys = zip(*points, strict=True)
    x_axis = Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    y_axis = Axis(10 ** math.floor(math.log10(min(ys))), 10 ** math.ceil(math.log10(max(ys))), HEIGHT - BOTTOM, TOP)
    drawn = [text(LEFT, 24, title, font_size=15, font_weight="bold")]
    for number in y_axis.decades():
        drawn.append(line(LEFT, y_axis.at(number), WIDTH - RIGHT, y_axis.at(number), "#dadce0"))
        drawn.append(text(LEFT - 8, y_axis.at(number) + 4, f"{number:,g}", text_anchor="end"))
    for number in x_axis.decades():
        drawn.append(line(x_axis.at(number), TOP, x_axis.at(number), HEIGHT - BOTTOM, "#dadce0"))
        drawn.append(text(x_axis.at(number), HEIGHT - BOTTOM + 18, f"{number:,g}", text_anchor="middle"))
    drawn.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16, x_title, text_anchor="middle"))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    drawn.append(text(18, middle, y_title, text_anchor="middle", transform=f"rotate(-90 18 {middle})"))
    from_top = sorted(lines, key=lambda name: y_axis.at(lines[name][-1][1]))
    name_heights = dict(zip(from_top, spread([y_axis.at(lines[name][-1][1]) for name in from_top]), strict=True))
    for index, (name, series) in enumerate(lines.items()):
        colour = COLOURS[index] if index < len(COLOURS) else REST
        path = " ".join(f"{x_axis.at(x)},{y_axis.at(y)}" for x, y in series)
        thickness = 3 if index == 0 else 1.6
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{thickness}"/>')
        end, height = WIDTH - RIGHT, round(name_heights[name], 1)
        drawn.append(line(end + 2, y_axis.at(series[-1][1]), end + 14, height, colour))
        drawn.append(text(end + 18, height + 4, f"{name}: {series[-1][1]:,.0f}", fill=colour))
    return svg(title, HEIGHT, drawn)


BAR, NAMES = 24, 230  # the height of a bar with the space below, and the width of the names before them


def bars(title, numbers):
    """Return an SVG of *numbers*, a dict, as horizontal bars from zero on; the first is of another colour."""
    most, height = max(numbers.values()), TOP + BAR * len(numbers) + 10
    drawn = [text(10, 24, title, font_size=15, font_weight="bold")]
    for index, (name, number) in enumerate(numbers.items()):
        y, width = TOP + BAR * index, round(number / most * (WIDTH - NAMES - 90), 1)
        colour = COLOURS[0] if index == 0 else "#9aa0a6"
        drawn.append(text(NAMES - 8, y + 13, name, text_anchor="end"))
        drawn.append(f'<rect x="{NAMES}" y="{y}" width="{width}" height="{BAR - 6}" fill="{colour}"/>')
        drawn.append(text(NAMES + width + 6, y + 13, f"{number:,.{0 if number >= 100 else 1}f}"))
    return svg(title, height, drawn)
