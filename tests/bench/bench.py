#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""sealblkd beside its peers: the same loads, interleaved, medians and ratios.

Each round runs every load on every server in turn, so that a machine whose speed
drifts treats all alike; only ratios within one run mean anything. Prints a table per
place (in brackets: server CPU seconds per GiB) and each target with PASS or short;
writes every measurement to a CSV file, and a picture.
"""
import argparse
import collections
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time

import report
import servers

Load = collections.namedtuple("Load", "name kind block depth conns unit latency fresh",
                              defaults=(False, False))

LOADS = [
    Load("sr 1M", "read", 1 << 20, 8, 1, "MB/s"),
    Load("sw 1M", "write", 1 << 20, 8, 1, "MB/s"),
    Load("sr 128K", "read", 1 << 17, 16, 1, "MB/s"),
    Load("sw 128K", "write", 1 << 17, 16, 1, "MB/s"),
    Load("rr 4K QD1", "randread", 4096, 1, 1, "kIOPS", True),
    Load("rr 4K QD32", "randread", 4096, 32, 1, "kIOPS", True),
    Load("rr 4K 4x32", "randread", 4096, 32, 4, "kIOPS", True),
    Load("rw 4K QD1", "randwrite", 4096, 1, 1, "kIOPS", True),
    Load("rw 4K QD32", "randwrite", 4096, 32, 1, "kIOPS", True),
    Load("rw 4K 4x32", "randwrite", 4096, 32, 4, "kIOPS", True),
    Load("w+flush 4K", "writeflush", 4096, 1, 1, "kIOPS", True),
    Load("copy out", "copy-out", 0, 0, 0, "MB/s"),
    Load("copy in", "copy-in", 0, 0, 0, "MB/s"),
    Load("base sr 128K", "read", 1 << 17, 16, 1, "MB/s", False, True),
    Load("base rr 4K", "randread", 4096, 32, 1, "kIOPS", True, True),
    Load("first w 128K", "write", 1 << 17, 16, 1, "MB/s", False, True),
    Load("first w 4K", "freshwrite", 4096, 32, 1, "kIOPS", True, True),
]
FILL = Load("fill", "write", 1 << 20, 4, 1, "MB/s")
QUICK = ("sr 128K", "sw 128K", "rr 4K QD32", "first w 4K")


def copy(server, load, size):
    ends = [server.uri(), "null:"] if load.kind == "copy-out" else [server.base, server.uri()]
    start = time.monotonic()
    servers.run("nbdcopy", *ends)
    return {"value": size / (time.monotonic() - start) / 1e6, "bytes": size}


def generate(server, load, options):
    limit = options.size if load is FILL or load.name == "first w 128K" else 0
    seconds = 600 if limit or load.kind == "freshwrite" else options.seconds
    out = servers.run_out(options.build + "/tests/nbdload", server.uri(), load.kind, load.block,
                          load.depth, load.conns, seconds, limit).split()
    values = dict(zip(out[::2], map(float, out[1::2])))
    return {"value": values["mb_s" if load.unit == "MB/s" else "kiops"],
            "bytes": values["requests"] * load.block,
            "p50_us": values["p50_us"] if load.latency else None,
            "p99_us": values["p99_us"] if load.latency else None}


def measure(server, load, options):
    cpu = server.cpu_s()
    values = (copy(server, load, options.size) if load.kind.startswith("copy")
              else generate(server, load, options))
    values["cpu_s_gib"] = (server.cpu_s() - cpu) / (values.pop("bytes") / 2**30)
    return values


def fio_flush(place, options):
    """What the file system itself does, of the same kind: kIOPS."""
    path = os.path.join(place, "fio.raw")
    if not os.path.exists(path):
        shutil.copyfile(os.path.join(place, "base.raw"), path)
    out = servers.run_out("fio", "--name=x", "--filename=" + path, "--rw=randwrite", "--bs=4k",
                          "--fdatasync=1", "--ioengine=psync", "--time_based",
                          f"--runtime={options.seconds}", f"--size={options.size}",
                          "--output-format=terse")
    return float(out.split(";")[48]) / 1e3


class Bench:
    def __init__(self, label, place, options, writer):
        self.label, self.place, self.options, self.writer = label, place, options, writer
        self.results = report.Results(options.loads)
        self.running = []

    def skip(self, server, why):
        print(f"SKIP {server.name}: {why}")
        server.stop()

    def begin(self, cls, base):
        server = cls(self.place, base, self.options.build)
        if server.missing():
            self.skip(server, "needs " + ", ".join(server.missing()))
            return
        try:
            server.start()
            if not server.fresh:
                measure(server, FILL, self.options)
            self.running.append(server)
        except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
            self.skip(server, said(error))

    def note(self, number, server, load, values):
        self.results.add(server, load, **values)
        self.writer.writerow([self.label, number, load, server, f"{values['value']:.5g}",
                              self.results.loads[load].unit]
                             + [("" if values.get(k) is None else f"{values[k]:.4g}")
                                for k in ("cpu_s_gib", "p50_us", "p99_us")])

    def round(self, number):
        for load in self.options.loads:
            for server in list(self.running):
                if server.fresh != load.fresh:
                    continue
                try:
                    if server.fresh:
                        server.renew()
                    self.note(number, server.name, load.name,
                              measure(server, load, self.options))
                except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
                    self.skip(server, said(error))
                    self.running.remove(server)
            if load.name == "w+flush 4K" and self.label == "disk":
                self.note(number, "fio file", load.name,
                          {"value": fio_flush(self.place, self.options), "cpu_s_gib": 0})

    def run(self):
        base = os.path.join(self.place, "base.raw")
        with open(base, "wb") as f:
            for _ in range(self.options.size >> 20):
                f.write(os.urandom(1 << 20))
        try:
            for cls in self.options.servers:
                self.begin(cls, base)
            for number in range(self.options.rounds):
                self.round(number)
            rss = {server.name: server.rss_mib() for server in self.running}
        finally:
            for server in self.running:
                server.stop()
        title = (f"{self.label}: disk of {self.options.size >> 20} MiB, medians of "
                 f"{self.options.rounds} rounds; in brackets server CPU s/GiB")
        report.print_table(self.results, title, [s.name for s in self.running if not s.fresh])
        report.print_table(self.results, "fresh over a plaintext base",
                           [s.name for s in self.running if s.fresh])
        print("peak RSS, MiB: " + ", ".join(f"{n} {v:.0f}" for n, v in rss.items()))
        report.print_targets(self.results)


def said(error):
    text = getattr(error, "stderr", None)
    if isinstance(text, bytes):
        text = text.decode()
    return text.strip() if text else str(error)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build", help="where sealblkd was built")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="per load and server")
    parser.add_argument("--size", type=int, default=512, help="of the disk, MiB")
    parser.add_argument("--csv", help="write every measurement to this file")
    parser.add_argument("--svg", help="write a picture of the first place to this file")
    parser.add_argument("--server", action="append", help="only this one; may be repeated")
    parser.add_argument("--load", action="append", help="only this one; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a few loads, to see that it works")
    parser.add_argument("--place", action="append", default=None, metavar="LABEL=FOLDER",
                        help="default: tmpfs=/dev/shm and disk=the current folder; on \"disk\" "
                             "fio's pwrite+fdatasync is measured as well")
    options = parser.parse_args()
    known = servers.FULL + servers.FRESH
    for name in options.server or ():
        if name not in [cls.name for cls in known]:
            parser.error(f"no server is called {name}: " + ", ".join(c.name for c in known))
    for name in options.load or ():
        if name not in [load.name for load in LOADS]:
            parser.error(f"no load is called {name}: " + ", ".join(l.name for l in LOADS))
    options.servers = [c for c in known if not options.server or c.name in options.server]
    options.loads = [l for l in LOADS if (not options.load or l.name in options.load) and
                     (not options.quick or l.name in QUICK)]
    options.size <<= 20
    options.build = os.path.abspath(options.build)
    return options


def main():
    options = parse()
    sys.stdout.reconfigure(line_buffering=True)
    out = open(options.csv or os.devnull, "w", newline="", encoding="ascii")
    writer = csv.writer(out)
    writer.writerow(["place", "round", "load", "server", "value", "unit", "cpu_s_gib", "p50_us",
                     "p99_us"])
    first = None
    for item in options.place or ["tmpfs=/dev/shm", "disk=" + os.getcwd()]:
        label, folder = item.split("=", 1)
        with tempfile.TemporaryDirectory(prefix="sealblk-bench-", dir=folder) as place:
            bench = Bench(label, place, options, writer)
            bench.run()
            first = first or bench
    if options.svg:
        with open(options.svg, "w", encoding="utf-8") as picture:
            picture.write(report.svg(first.results,
                                     "Throughput; 1 is the best server without encryption"))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
