# SPDX-License-Identifier: MIT
"""What comes of the measurements: a line of CSV each, medians, and the tables."""
import csv
import statistics

import peers
import servers

FIGURES = ("value", "cpu_s_per_gib", "cpu_us_per_op", "p50_us", "p99_us")
COLUMNS = ("place", "round", "load", "server", "unit", *FIGURES, "seconds", "bytes", "requests",
           "cpu_s")
UNENCRYPTED = [cls.name for cls in peers.UNENCRYPTED]


def number(value, digits=3):
    """With so many digits at least, and never in powers of ten."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 10 ** (digits - 1) else f"{value:.{digits}g}"


class CsvFile:
    """Every single measurement, as soon as it is there."""

    def __init__(self, file):
        self.writer = csv.writer(file)
        self.writer.writerow(COLUMNS)

    def write(self, place, nr, load, server, m):
        figures = [getattr(m, figure) for figure in FIGURES]
        self.writer.writerow([place, nr, load.name, server, load.unit,
                              *("" if f is None else f"{f:.6g}" for f in figures),
                              f"{m.seconds:.4f}", m.nbytes, m.requests or "",
                              "" if m.cpu_s is None else f"{m.cpu_s:.6f}"])


class Results:
    """Of one place."""

    def __init__(self, loads):
        self.loads = loads
        self.measured = {}
        self.rss_mib = {}

    def add(self, server, load, measurement):
        self.measured.setdefault((server, load), []).append(measurement)

    def drop(self, server):
        """All of a server that failed half-way: its medians would be of other rounds."""
        for key in [key for key in self.measured if key[0] == server]:
            del self.measured[key]

    def servers(self):
        return list(dict.fromkeys(server for server, _ in self.measured))

    def median(self, server, load, figure="value"):
        values = [getattr(m, figure) for m in self.measured.get((server, load), ())]
        values = [value for value in values if value is not None]
        return statistics.median(values) if values else None

    def best(self, names, load, figure="value", pick=max):
        """(median, server), or (None, None)."""
        found = [(self.median(name, load, figure), name) for name in names]
        found = [pair for pair in found if pair[0] is not None]
        return pick(found) if found else (None, None)

    def share(self, server, load):
        """Throughput, as a multiple of the best unencrypted peer's; None without one."""
        best, _ = self.best(UNENCRYPTED, load)
        value = self.median(server, load)
        return value / best if best and value is not None else None


# ---- tables, which may be pasted into Markdown as they are

def print_table(title, head, rows):
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print(f"\n{title}\n")
    for row in [head, ["-" * widths[0]] + ["-" * (w - 1) + ":" for w in widths[1:]], *rows]:
        cells = [row[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
        print("| " + " | ".join(cells) + " |")


def print_loads(results, title, loads, cell):
    """One row for each server that has something to say, one column for each load."""
    rows = [[server, *(cell(server, load) for load in loads)] for server in results.servers()]
    rows = [row for row in rows if any(text != "-" for text in row[1:])]
    if loads and rows:
        print_table(title, ["", *(load.name for load in loads)], rows)


def throughput_cell(results):
    def cell(server, load):
        share = results.share(server, load.name)
        text = number(results.median(server, load.name))
        return text if share is None else f"{text} ({share:.2f}x)"
    return cell


def latency_cell(results):
    def cell(server, load):
        p50, p99 = (results.median(server, load.name, f) for f in ("p50_us", "p99_us"))
        return "-" if p50 is None else f"{number(p50)} / {number(p99)}"
    return cell


def figure_cell(results, figure):
    return lambda server, load: number(results.median(server, load.name, figure))


def print_tables(results):
    large = [load for load in results.loads if not load.small]
    small = [load for load in results.loads if load.small]
    beside = "in brackets, as a multiple of the best of " + ", ".join(UNENCRYPTED)
    print_loads(results, f"MB/s; {beside}", large, throughput_cell(results))
    print_loads(results, f"Thousands of operations per second; {beside}", small,
                throughput_cell(results))
    print_loads(results, "Latency in microseconds, p50 / p99", small, latency_cell(results))
    print_loads(results, "Server CPU, seconds per GiB", large,
                figure_cell(results, "cpu_s_per_gib"))
    print_loads(results, "Server CPU, microseconds per operation", small,
                figure_cell(results, "cpu_us_per_op"))
    rss = [[name, number(mib)] for name, mib in results.rss_mib.items() if mib is not None]
    if rss:
        print_table("Peak resident memory", ["", "MiB"], rss)


def known_servers():
    return (servers.SERVERS + peers.UNENCRYPTED + peers.DIRECT + peers.ENCRYPTED + peers.OVERLAYS +
            peers.CEILINGS)
