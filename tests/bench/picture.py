# SPDX-License-Identifier: MIT
"""The picture of one place: for each load, how each server compares with the best
unencrypted peer, which is 1. The scale is logarithmic: twice as fast is as far to the
right as half as fast is to the left.
"""
import html
import math

LEFT, TOP, ROW, PLOT, RIGHT = 180, 92, 22, 480, 60
SECTION = 30                    # height of a heading between groups of rows
LOWEST, HIGHEST = 1 / 32, 4     # what lies beyond is drawn at the edge

# Class, shape, servers of the steady state and over a base, words of the legend.
SERIES = [
    ("sealed", "circle", "sealed", "sealed-fresh", "sealblkd, encrypted"),
    ("ours", "ring", "plain", None, "sealblkd, encryption off"),
    ("plain", "bar", "nbdkit-file", "nbdkit-cow-fresh", "nbdkit (file; cow), not encrypted"),
    ("luks", "diamond", "nbdkit-luks", None, "nbdkit luks"),
    ("qemu", "square", "qemu-overlay", "qemu-overlay-fresh", "qemu-nbd, qcow2 with LUKS"),
]

STYLE = """
text { font: 12px sans-serif; fill: #24292f } .dim { fill: #57606a }
.grid { stroke: #d0d7de } .one { stroke: #57606a; stroke-dasharray: 4 3 }
.sealed { fill: #0969da } .luks { fill: #bc4c00 } .qemu { fill: #a40e26 }
.ours { fill: none; stroke: #0969da; stroke-width: 1.5 } .plain { fill: #57606a }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .dim { fill: #9198a1 } .grid { stroke: #3d444d }
.one { stroke: #9198a1 } .sealed { fill: #4493f8 } .luks { fill: #f0883e }
.qemu { fill: #ff7b72 } .ours { stroke: #4493f8 } .plain { fill: #9198a1 } }
"""


def x_of(share):
    share = min(max(share, LOWEST), HIGHEST)
    return LEFT + PLOT * math.log(share / LOWEST) / math.log(HIGHEST / LOWEST)


def text(x, y, words, css="", anchor="start"):
    return (f'<text x="{x:.0f}" y="{y:.0f}" class="{css}" text-anchor="{anchor}">'
            f'{html.escape(words)}</text>')


def mark(css, shape, x, y, title):
    if shape in ("circle", "ring"):
        drawn = f'<circle cx="{x:.1f}" cy="{y}" r="{6 if shape == "circle" else 4.5}" class="{css}"'
    elif shape == "diamond":
        drawn = f'<path d="M{x:.1f} {y - 6}l6 6l-6 6l-6 -6z" class="{css}"'
    else:
        half = 1.5 if shape == "bar" else 4.5
        drawn = (f'<rect x="{x - half:.1f}" y="{y - (7 if shape == "bar" else 4.5)}" '
                 f'width="{2 * half}" height="{14 if shape == "bar" else 9}" class="{css}"')
    tag = drawn[1:].split(" ", 1)[0]
    return f"{drawn}><title>{html.escape(title)}</title></{tag}>"


def legend():
    out = []
    for i, (css, shape, _, _, words) in enumerate(SERIES):
        x, y = 20 + i % 3 * 240, 38 + i // 3 * 20
        out += [mark(css, shape, x, y, words), text(x + 12, y + 4, words)]
    return out


def row(results, load, y, column):
    out = [text(LEFT - 12, y + 4, load, anchor="end"),
           f'<line x1="{LEFT}" x2="{LEFT + PLOT}" y1="{y}" y2="{y}" class="grid"/>']
    # The first of the series lies on top of the others.
    for series in reversed(SERIES):
        server = series[column]
        share = server and results.share(server, load)
        if share:
            out.append(mark(series[0], series[1], x_of(share), y, f"{server}: {share:.2f}"))
    share = results.share(SERIES[0][column], load)
    return out + ([text(LEFT + PLOT + 10, y + 4, f"{share:.2f}x")] if share else [])


def axis(bottom):
    out = []
    share = LOWEST
    while share <= HIGHEST:
        x, words = x_of(share), f"{share:g}" if share >= 1 else f"1/{1 / share:g}"
        out += [f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" '
                f'class="{"one" if share == 1 else "grid"}"/>',
                text(x, bottom + 16, words, "dim", "middle")]
        share *= 2
    return out


def draw(results, title):
    rows, y = [], TOP
    for heading, column in (("Data in the image", 2), ("Over a plaintext base, first writes", 3)):
        names = [load.name for load in results.loads
                 if results.share(SERIES[0][column], load.name)]
        if names:
            rows.append(text(LEFT, y + 18, heading, "dim"))
            y += SECTION
        for name in names:
            rows += row(results, name, y + ROW // 2, column)
            y += ROW
    width, height = LEFT + PLOT + RIGHT, y + 44
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img">',
        f"<title>{html.escape(title)}</title><style>{STYLE}</style>",
        text(12, 20, title), *legend(), *axis(y + 4), *rows,
        text(LEFT + PLOT / 2, height - 6,
             "throughput as a multiple of the best unencrypted peer; at the right: sealblkd's",
             "dim", "middle"), "</svg>"]) + "\n"
