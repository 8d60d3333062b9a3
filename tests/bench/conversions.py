#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""sealblk convert, import and export beside qemu-img convert, by turns; medians, ratios and targets.

A sparse disk goes between formats. Only ratios within one run mean anything; see "How fast"
in docs/conversions.md. sealblk makes its result durable, so qemu-img is followed by sync.
Without options it takes about four minutes.
"""
import argparse
import dataclasses
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
RUN_MIB = 8         # the source stores runs of data of this length, spread evenly
RSS_MIB_MAX = 64    # whatever the size


@dataclasses.dataclass(frozen=True)
class Conversion:
    """Commands, without the destination that comes last. What qemu-img has nothing like
    (`qemu` is None) is held against our own first one."""
    name: str
    ours: tuple
    qemu: tuple | None
    suffix: str     # of the destination
    at_most: float = 1.0

    def peer(self):
        return "qemu-img" if self.qemu else "sealblk convert to a fixed VHD"


FIXED = ("-O", "vpc", "-o", "subformat=fixed,force_size=on")
DYNAMIC = ("-O", "vpc", "-o", "subformat=dynamic,force_size=on")
CONVERSIONS = [
    Conversion("raw to fixed VHD", ("convert", "disk.raw"), ("raw", *FIXED, "disk.raw"), "vhd"),
    Conversion("fixed VHD to raw", ("convert", "--format", "raw", "fixed.vhd"),
               ("vpc", "-O", "raw", "fixed.vhd"), "raw"),
    Conversion("raw to dynamic VHD", ("convert", "--format", "vhd-dynamic", "disk.raw"),
               ("raw", *DYNAMIC, "disk.raw"), "vhd"),
    Conversion("dynamic to fixed VHD", ("convert", "dynamic.vhd"),
               ("vpc", *FIXED, "dynamic.vhd"), "vhd"),
    Conversion("raw to image (import)", ("import", "--key-file", "key", "disk.raw"), None, "seal", 1.1),
    Conversion("image to fixed VHD (export)", ("export", "--key-file", "key", "disk.seal"),
               ("raw", *FIXED, "disk.raw"), "vhd"),
]


@dataclasses.dataclass
class Run:
    seconds: float
    cpu_s: float
    rss_mib: float


def run_all(commands, folder):
    """One conversion."""
    runs = [run(command, folder) for command in commands]
    return Run(sum(run.seconds for run in runs), sum(run.cpu_s for run in runs),
               max(run.rss_mib for run in runs))


def run(command, folder):
    """Its peak memory counts what it was forked from: 24 MiB may be less."""
    start = time.monotonic()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE) as process:
        said = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - start
    if process.returncode:
        sys.exit(f"conversions: {' '.join(command)}: exit {process.returncode}: {said.strip()}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


class Bench:
    def __init__(self, options, place):
        self.options = options
        self.place = place
        self.folder = tempfile.mkdtemp(prefix="sealblk-conversions-", dir=place)
        self.sealblk = os.path.join(os.path.abspath(options.build), "sealblk")
        self.runs = {}

    def close(self):
        shutil.rmtree(self.folder)

    def commands(self, conversion, who, target):
        if who == "sealblk":
            return [[self.sealblk, *conversion.ours, target]]
        if not conversion.qemu:
            return [[self.sealblk, *CONVERSIONS[0].ours, target]]
        source_format, *rest = conversion.qemu
        return [["qemu-img", "convert", "-t", "writeback", "-f", source_format, *rest, target],
                ["sync", target]]

    def make_sources(self):
        nr_runs = self.options.data // RUN_MIB
        with open(os.path.join(self.folder, "disk.raw"), "wb") as file:
            file.truncate(self.options.size * MIB)
            for i in range(nr_runs):
                file.seek(i * self.options.size // nr_runs * MIB)
                file.write(os.urandom(RUN_MIB * MIB))
        with open(os.path.join(self.folder, "key"), "wb") as file:
            file.write(os.urandom(32))
        os.chmod(file.name, 0o600)
        for words in (("convert", "disk.raw", "fixed.vhd"),
                      ("convert", "--format", "vhd-dynamic", "disk.raw", "dynamic.vhd"),
                      ("import", "--key-file", "key", "disk.raw", "disk.seal")):
            run([self.sealblk, *words], self.folder)

    def one(self, conversion, who):
        target = "out." + conversion.suffix
        self.read_source((conversion.ours if who == "sealblk" or not conversion.qemu
                          else conversion.qemu)[-1])
        commands = self.commands(conversion, who, target)
        self.warm()
        self.runs.setdefault((conversion.name, who), []).append(run_all(commands, self.folder))
        path = os.path.join(self.folder, target)
        # Of what is stored only; a file of holes would go through at any speed.
        if os.stat(path).st_blocks * 512 < self.options.data * MIB:
            sys.exit(f"conversions: {' '.join(commands[0])} has lost data")
        os.unlink(path)
        os.sync()   # what a disk has still to do is not the next one's

    def warm(self):
        """Memory that the host of a virtual machine has yet to find costs several times what is
        copied there, and it takes back what is free: page caches and tmpfs grow into it."""
        with tempfile.TemporaryFile(dir="/dev/shm") as file:
            for _ in range(2 * self.options.data):
                file.write(bytes(MIB))

    def read_source(self, name):
        """So that all of them find it in memory, or none: a large one does not stay there."""
        with open(os.path.join(self.folder, name), "rb") as file:
            while file.read(MIB):
                pass

    def measure(self):
        self.make_sources()
        for nr in range(self.options.rounds):
            for conversion in self.conversions():
                turns = ["sealblk", conversion.peer()]
                for who in turns[nr % len(turns):] + turns[:nr % len(turns)]:
                    self.one(conversion, who)

    def conversions(self):
        return [conversion for conversion in CONVERSIONS if self.options.only in conversion.name]

    def median(self, conversion, who, figure):
        return statistics.median(getattr(run, figure) for run in self.runs[conversion.name, who])

    def report(self):
        print(f"\nconversions of {self.options.size} MiB that store {self.options.data}, in "
              f"{self.place}: medians of {self.options.rounds} rounds, in seconds\n")
        print("| | sealblk | beside it | processor | beside it | MiB, sealblk | beside |")
        print("|---|---|---|---|---|---|---|")
        for conversion in self.conversions():
            cells = [self.median(conversion, who, figure) for figure in ("seconds", "cpu_s")
                     for who in ("sealblk", conversion.peer())]
            peak = max(run.rss_mib for run in self.runs[conversion.name, "sealblk"])
            print(f"| {conversion.name} |", *(f"{cell:.2f} |" for cell in cells),
                  f"{peak:.0f} | {conversion.peer()} |")
        self.print_targets()

    def print_targets(self):
        print("\nTargets")
        for conversion in self.conversions():
            ratio = self.median(conversion, "sealblk", "seconds") / \
                self.median(conversion, conversion.peer(), "seconds")
            print_target(f"{conversion.name}, seconds / {conversion.peer()}", ratio,
                         conversion.at_most)
        peak = max(run.rss_mib for (_, who), runs in self.runs.items() for run in runs
                   if who == "sealblk")
        print_target("memory, MiB", peak, RSS_MIB_MAX)


def print_target(what, measured, wanted):
    verdict = "PASS " if measured <= wanted else "short"
    print(f"    {verdict} {what}: {measured:.2f}, at most {wanted:.2f}")


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="where sealblk was built")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=int, default=10240, metavar="MIB", help="of the disk")
    parser.add_argument("--data", type=int, default=3072, metavar="MIB", help="that it stores")
    parser.add_argument("--only", default="", metavar="WORD", help="conversions with it in their name")
    parser.add_argument("--place", action="append", metavar="FOLDER",
                        help="of the files; may be repeated (default: /dev/shm)")
    options = parser.parse_args()
    options.place = options.place or ["/dev/shm"]
    if options.rounds < 1 or not RUN_MIB <= options.data <= options.size:
        parser.error(f"at least one round, {RUN_MIB} MiB of data, and a disk that can hold them")
    for place in options.place:
        needed, room = 6 * options.data, os.statvfs(place)
        if room.f_bavail * room.f_frsize < needed * MIB:
            parser.error(f"{place} has no room for {needed} MiB: choose a smaller --data")
    return options


def main():
    options = parse()
    for place in options.place:
        bench = Bench(options, place)
        try:
            bench.measure()
            bench.report()
        finally:
            bench.close()


if __name__ == "__main__":
    main()
