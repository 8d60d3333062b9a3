# SPDX-License-Identifier: MIT
"""What comes of the measurements: the table, the targets, the picture."""
import html
import statistics

UNENCRYPTED = ("nbdkit file", "nbd-server", "qemu-nbd raw")


class Results:
    """Medians by (server, load)."""

    def __init__(self, loads):
        self.loads = {load.name: load for load in loads}
        self.rows = {}

    def add(self, server, load, **values):
        self.rows.setdefault((server, load), []).append(values)

    def median(self, server, load, what="value"):
        values = [row[what] for row in self.rows.get((server, load), ())
                  if row.get(what) is not None]
        return statistics.median(values) if values else None

    def servers(self):
        return list(dict.fromkeys(server for server, _ in self.rows))

    def best(self, servers, load, what="value", pick=max):
        values = [v for v in (self.median(s, load, what) for s in servers) if v is not None]
        return pick(values) if values else None


def print_table(results, title, servers):
    loads = [load for load in results.loads.values()
             if any((s, load.name) in results.rows for s in servers)]
    if not loads:
        return
    print(f"\n{title}")
    print(f"  {'':20}" + "".join(f"{load.name:>15}" for load in loads))
    print(f"  {'':20}" + "".join(f"{load.unit:>15}" for load in loads))
    for server in servers:
        cells = []
        for load in loads:
            value = results.median(server, load.name)
            cpu = results.median(server, load.name, "cpu_s_gib")
            cells.append("-" if value is None else f"{value:.4g} ({cpu:.2f})")
        print(f"  {server:20}" + "".join(f"{cell:>15}" for cell in cells))


# ---- targets -------------------------------------------------------------------

def ratio(a, b):
    return a / b if a is not None and b else None


def targets(results):
    """Yields (what, measured or None, wanted, 'at least' or 'at most')."""
    m = results.median
    for load in results.loads.values():
        name = load.name
        if load.fresh:
            yield (f"fresh sealed / nbdkit cow: {name}",
                   ratio(m("sealblkd fresh", name), m("nbdkit cow", name)), 1.0, "at least")
            continue
        yield (f"sealed / best unencrypted peer: {name}",
               ratio(m("sealblkd", name), results.best(UNENCRYPTED, name)), 1.0, "at least")
        yield (f"4 workers / 1 worker: {name}",
               ratio(m("sealblkd 4 workers", name), m("sealblkd 1 worker", name)), 1.0,
               "at least")
    for name in ("sr 128K", "sw 128K", "rr 4K QD32", "rw 4K QD32"):
        yield (f"sealed / our plain plane: {name}",
               ratio(m("sealblkd", name), m("sealblkd plain", name)), 0.95, "at least")
    for name in ("sr 1M", "sr 128K", "sw 1M", "sw 128K", "rr 4K QD32"):
        yield (f"sealed / qcow2+luks: {name}",
               ratio(m("sealblkd", name), m("qcow2+luks", name)), 4.0, "at least")
    yield ("first writes / qcow2+luks: first w 4K",
           ratio(m("sealblkd fresh", "first w 4K"), m("qcow2+luks fresh", "first w 4K")), 15.0,
           "at least")
    for name, wanted in (("sr 1M", 2.5), ("sr 128K", 2.5), ("sw 1M", 2.5), ("sw 128K", 2.5),
                         ("rr 4K QD32", 1.5), ("rw 4K QD32", 1.5)):
        yield (f"sealed / nbdkit luks: {name}",
               ratio(m("sealblkd", name), m("nbdkit luks", name)), wanted, "at least")
    for name in ("sr 1M", "sw 1M"):
        yield (f"server CPU s/GiB: {name}", m("sealblkd", name, "cpu_s_gib"), 0.50, "at most")
    for name in ("rr 4K QD32", "rw 4K QD32"):
        yield (f"CPU per operation / nbdkit file: {name}",
               ratio(m("sealblkd", name, "cpu_s_gib"), m("nbdkit file", name, "cpu_s_gib")),
               1.2, "at most")
    for load in results.loads.values():
        if load.latency and not load.fresh:
            yield (f"p99 / best peer's: {load.name}",
                   ratio(m("sealblkd", load.name, "p99_us"),
                         results.best(UNENCRYPTED, load.name, "p99_us", min)), 1.0, "at most")
    yield ("write+flush / fio pwrite+fdatasync",
           ratio(m("sealblkd", "w+flush 4K"), m("fio file", "w+flush 4K")), 0.9, "at least")


def print_targets(results):
    nr_short = nr = 0
    print("\ntargets")
    for what, measured, wanted, sense in targets(results):
        if measured is None:
            continue
        good = measured >= wanted if sense == "at least" else measured <= wanted
        nr += 1
        nr_short += not good
        print(f"  {'PASS ' if good else 'short'} {what}: {measured:.2f}, {sense} {wanted:.2f}")
    print(f"{nr - nr_short} of {nr} targets met")


# ---- the picture ---------------------------------------------------------------

BAR, GAP, LEFT, WIDTH = 14, 12, 150, 760
COLOURS = {"sealblkd": "#1f77b4", "nbdkit file": "#9aa5b1", "nbd-server": "#c4ccd4",
           "nbdkit luks": "#e0a458", "qcow2+luks": "#c8553d"}


def svg(results, title):
    """Bars: throughput of each server on each load, where the best unencrypted peer is 1."""
    servers = [s for s in COLOURS if s in results.servers()]
    loads = [load.name for load in results.loads.values()
             if not load.fresh and results.best(UNENCRYPTED, load.name)]
    height = 70 + len(loads) * (len(servers) * BAR + GAP)
    scale = (WIDTH - LEFT - 60) / 3
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           'font-family="sans-serif" font-size="11">',
           f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
           f'<text x="10" y="18" font-size="13">{html.escape(title)}</text>']
    for i, server in enumerate(servers):
        x = 10 + i * 145
        out.append(f'<rect x="{x}" y="30" width="10" height="10" fill="{COLOURS[server]}"/>'
                   f'<text x="{x + 15}" y="39">{html.escape(server)}</text>')
    y = 55
    for load in loads:
        out.append(f'<text x="10" y="{y + len(servers) * BAR / 2 + 4:.0f}">'
                   f'{html.escape(load)}</text>')
        for server in servers:
            value = ratio(results.median(server, load), results.best(UNENCRYPTED, load))
            if value is not None:
                width = min(value, 3) * scale
                out.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" '
                           f'fill="{COLOURS[server]}"/><text x="{LEFT + width + 4:.1f}" '
                           f'y="{y + BAR - 4}">{value:.2f}</text>')
            y += BAR
        y += GAP
    out.append(f'<line x1="{LEFT + scale:.1f}" y1="50" x2="{LEFT + scale:.1f}" '
               f'y2="{height - 10}" stroke="#444" stroke-dasharray="3 3"/></svg>')
    return "\n".join(out) + "\n"
