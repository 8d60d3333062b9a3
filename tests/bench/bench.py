#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""sealblkd beside its peers: the same loads, interleaved; medians, ratios and targets.

In each round every load runs on every server in turn, so that a machine whose speed drifts
treats all alike. Only ratios within one run mean anything. docs/performance.md tells what
the servers, loads and columns are. Without options it takes about 25 minutes.
"""
import argparse
import fnmatch
import os
import shutil
import signal
import sys
import tempfile

import loads
import picture
import places
import report
import targets

DEFAULT_PLACES = ("tmpfs=/dev/shm", "disk=.")
WARM_DISKS = 4      # as much memory as so many disks need is touched before each round


class Place:
    """A folder with the base and all servers, and what was measured there."""

    def __init__(self, label, folder, options):
        self.label = label
        self.options = options
        self.on_disk = not places.is_memory(folder)
        self.folder = tempfile.mkdtemp(prefix="sealblk-bench-", dir=folder)
        self.running = []
        self.loads = [load for load in loads.LOADS if self.wants(load)]
        self.results = report.Results(self.loads)

    def wants(self, load):
        if self.options.only_loads:
            return matches(load.name, self.options.only_loads)
        if self.options.quick:
            return load.name in loads.QUICK_LOADS
        return not self.on_disk or load.name in loads.DISK_LOADS

    def close(self):
        for server in self.running:
            server.stop()
        shutil.rmtree(self.folder)

    def run(self, table):
        """@table: the CSV file."""
        base = os.path.join(self.folder, "base.raw")
        with open(base, "wb") as f:
            for _ in range(self.options.size):
                f.write(os.urandom(loads.MIB))
        for cls in self.options.servers:
            self.begin(cls(self.folder, base, self.options.build))
        for nr in range(self.options.rounds):
            self.round(nr, table)
        for server in self.running:
            server.note_rss()
            self.results.rss_mib[server.name] = server.peak_rss_mib

    def begin(self, server):
        self.running.append(server)     # first: whatever happens, it is ended
        try:
            reason = server.why_not()
            if reason:
                raise RuntimeError(reason)
            server.start()
            if not server.fresh:
                server.fill()
        except (RuntimeError, OSError) as error:
            self.leave_out(server, error)

    def leave_out(self, server, reason):
        """One line, and its row is missing; the others go on."""
        print(f"SKIP {server.name}: " + " ".join(str(reason).split()), flush=True)
        server.stop()
        self.running.remove(server)
        self.results.drop(server.name)

    def warm(self):
        """In a virtual machine a page of memory that its host has to find first costs ten times
        as much as what is copied there, whoever writes."""
        path = os.path.join(self.folder, "warm")
        with open(path, "wb") as f:
            for _ in range(WARM_DISKS * self.options.size):
                f.write(bytes(loads.MIB))
        os.unlink(path)

    def round(self, nr, table):
        if not self.on_disk:
            self.warm()
        # Reads first: a fresh server is made anew only once it has been written to.
        for load in sorted(self.loads, key=lambda load: load.writes):
            first = nr % max(len(self.running), 1)
            for server in self.running[first:] + self.running[:first]:
                if load.name not in server.leaves_out:
                    self.measure(nr, load, server, table)
        print(f"{self.label}: round {nr + 1} of {self.options.rounds} is done", flush=True)

    def measure(self, nr, load, server, table):
        if self.on_disk:
            os.sync()       # what the server before wrote is not to be written now
        try:
            measurement = server.measure(load, self.options.seconds)
        except (RuntimeError, OSError) as error:
            self.leave_out(server, error)
            return
        self.results.add(server.name, load.name, measurement)
        table.write(self.label, nr, load, server.name, measurement)

    def report(self):
        print(f"\n{self.label}: medians of {self.options.rounds} rounds, {self.options.seconds:g} "
              f"s each, {self.options.size} MiB disk, unix socket")
        report.print_tables(self.results)
        targets.print_targets(self.results, self.label, self.on_disk)


def matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def chosen(parser, names, patterns, what):
    """The patterns, each of which must mean something."""
    patterns = [pattern for pattern in patterns.split(",") if pattern]
    for pattern in patterns:
        if not fnmatch.filter(names, pattern):
            parser.error(f"no {what} is called {pattern}: there are {', '.join(names)}")
    return patterns


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="where sealblkd was built")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="each load on each server")
    parser.add_argument("--size", type=int, default=512, metavar="MIB", help="of the disk")
    parser.add_argument("--place", action="append", metavar="LABEL=FOLDER",
                        help="where the files lie; may be repeated; default: "
                        + " and ".join(DEFAULT_PLACES) + ". In a folder that is no tmpfs only "
                        "the loads that see the disk are run, unless --only names others")
    parser.add_argument("--only", default="", metavar="SERVERS[/LOADS]",
                        help="names with commas between; * and ? as in the shell: "
                        "'sealed*,nbdkit-file/randread*'")
    parser.add_argument("--quick", action="store_true",
                        help="one round of four loads, on a disk of 64 MiB in tmpfs")
    parser.add_argument("--csv", metavar="FILE", help="every single measurement")
    parser.add_argument("--svg", metavar="FILE", help="a picture of the first place")
    parser.add_argument("--list", action="store_true", help="name the servers and loads")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.size = 1, min(options.size, 64)
        options.place = options.place or [DEFAULT_PLACES[0]]
    if options.rounds < 1 or options.seconds <= 0 or options.size < 16:
        parser.error("at least one round, of more than no time, on a disk of 16 MiB")
    known = report.known_servers()
    only_servers, _, only_loads = options.only.partition("/")
    only_servers = chosen(parser, [cls.name for cls in known], only_servers, "server")
    options.only_loads = chosen(parser, [load.name for load in loads.LOADS], only_loads, "load")
    options.servers = [cls for cls in known
                       if not only_servers or matches(cls.name, only_servers)]
    options.places = [place.partition("=")[::2] for place in options.place or DEFAULT_PLACES]
    for label, folder in options.places:
        if not os.path.isdir(folder):
            parser.error(f"--place {label}={folder}: not LABEL=FOLDER of a folder")
    options.build = os.path.abspath(options.build)
    return options


def end_by_signal(number, _):
    """Once: what is under way then is the ending, and that is to be whole."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + number)


def check_room(options):
    """Each server holds the disk once, and so does the base; and see warm()."""
    needed = (len(options.servers) + 1 + WARM_DISKS) * options.size
    for label, folder in options.places:
        room = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize // loads.MIB
        if room < needed:
            sys.exit(f"bench: {label}: {folder} has room for {room} MiB, and {needed} are needed: "
                     "choose a smaller --size, or fewer servers with --only")


def bench(options):
    first = None
    with open(options.csv or os.devnull, "w", buffering=1, newline="", encoding="ascii") as file:
        table = report.CsvFile(file)
        for label, folder in options.places:
            place = Place(label, os.path.abspath(folder), options)
            try:
                place.run(table)
            finally:
                place.close()
            place.report()
            first = first or place
    if options.svg:
        with open(options.svg, "w", encoding="utf-8") as file:
            file.write(picture.draw(first.results, "sealblkd beside other NBD servers, "
                                    + first.label))


def main():
    options = parse()
    if options.list:
        print("servers:", *(cls.name for cls in report.known_servers()))
        print("loads:", *(load.name for load in loads.LOADS))
        return
    for program in ("sealblkd", "sealblk", "tests/nbdload", "tests/ceilings"):
        if not os.access(os.path.join(options.build, program), os.X_OK):
            sys.exit(f"bench: {options.build}/{program} is not built: run `make bench`")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end_by_signal)
    check_room(options)
    bench(options)


if __name__ == "__main__":
    main()
