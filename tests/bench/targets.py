# SPDX-License-Identifier: MIT
"""What sealblkd is to reach beside its peers, and whether it did."""
import dataclasses

import peers
from report import UNENCRYPTED

OVERLAY_PEERS = [cls.name for cls in peers.OVERLAYS]
PEERS = UNENCRYPTED + [cls.name for cls in peers.ENCRYPTED]
SEQUENTIAL = ("read-1M-qd16", "write-1M-qd16", "read-128K-qd16", "write-128K-qd16")


@dataclasses.dataclass
class Line:
    """One comparison: a target has one for each load that it is about."""
    what: str
    measured: float | None      # None: something that it needs was not measured
    wanted: float
    at_most: bool = False
    beside: str | None = None   # the server compared with, where the best of several counts

    @property
    def met(self):
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted

    def text(self):
        sense = "at most" if self.at_most else "at least"
        text = f"{self.what}: {self.measured:.2f}, {sense} {self.wanted:.2f}"
        if self.beside:
            text += f" (beside {self.beside})"
        if self.met:
            return "PASS  " + text
        return f"short {text}: by {abs(self.measured / self.wanted - 1):.0%}"


def divide(a, b):
    return a / b if a is not None and b else None


class Targets:
    """@on_disk: the place is one where a flush has something to do."""

    def __init__(self, results, on_disk):
        self.results = results
        self.on_disk = on_disk
        self.loads = [load.name for load in results.loads]
        self.small = [load.name for load in results.loads if load.small]

    def ratio(self, ours, theirs, load, wanted, figure="value", at_most=False):
        m = self.results.median
        return Line(load, divide(m(ours, load, figure), m(theirs, load, figure)), wanted, at_most)

    def beside_best(self, ours, names, load, wanted):
        best, name = self.results.best(names, load)
        return Line(load, divide(self.results.median(ours, load), best), wanted, False, name)

    def latency(self, load):
        best, name = self.results.best(PEERS, load, "p99_us", min)
        return Line(load, divide(self.results.median("sealed", load, "p99_us"), best), 1.0, True,
                    name)

    def cpu(self, load):
        return Line(load, self.results.median("sealed", load, "cpu_s_per_gib"), 0.50, True)

    def all(self):
        """Pairs of a target and its lines."""
        yield "sealed / plain, our own: no additional cost", [
            self.ratio("sealed", "plain", load, 0.95)
            for load in self.loads if "-128K-" in load or load in self.small]
        yield "sealed / best unencrypted peer", [
            self.beside_best("sealed", UNENCRYPTED, load, 1.0) for load in self.loads]
        yield "sealed-fresh / best unencrypted peer, overlay or not", [
            self.beside_best("sealed-fresh", UNENCRYPTED + OVERLAY_PEERS[:1], load, 1.0)
            for load in self.loads]
        yield "sealed / qemu-overlay", [
            self.ratio("sealed", "qemu-overlay", load, 4.0)
            for load in (*SEQUENTIAL, "randread-4K-qd32")]
        yield "sealed-fresh / qemu-overlay-fresh, first writes", [
            self.ratio("sealed-fresh", "qemu-overlay-fresh", load, 15.0)
            for load in self.small if load.startswith("randwrite")]
        yield "sealed / nbdkit-luks", [
            self.ratio("sealed", "nbdkit-luks", load, 2.5) for load in SEQUENTIAL] + [
            self.ratio("sealed", "nbdkit-luks", load, 1.5)
            for load in self.small if load.startswith("rand")]
        yield "server CPU of sealed, s/GiB", [self.cpu("read-1M-qd16"), self.cpu("write-1M-qd16")]
        yield "server CPU per operation, sealed / nbdkit-file", [
            self.ratio("sealed", "nbdkit-file", load, 1.2, "cpu_us_per_op", True)
            for load in self.small]
        yield "four workers / one worker", [
            self.ratio("sealed-4-workers", "sealed-1-worker", load, 1.0) for load in self.loads]
        yield "p99 latency, sealed / best peer", [self.latency(load) for load in self.small]
        if self.on_disk:
            yield "sealed / fio's pwrite + fdatasync", [
                self.ratio("sealed", "fio-file", "writeflush-4K-qd1", 0.9)]


def print_targets(results, place, on_disk):
    nr_met = nr_short = 0
    print(f"\nTargets, {place}")
    for target, lines in Targets(results, on_disk).all():
        lines = [line for line in lines if line.measured is not None]
        if not lines:
            print(f"  {target}: not measured")
            continue
        met = sum(line.met for line in lines)
        print(f"  {target}: {met} of {len(lines)}")
        for line in lines:
            print("    " + line.text())
        nr_met += met
        nr_short += len(lines) - met
    print(f"{place}: {nr_met} of {nr_met + nr_short} lines PASS, {nr_short} short")
