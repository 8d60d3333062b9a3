#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How much of its throughput a client keeps beside others that mean harm.

    hostile.py SOCKET PID NBDLOAD ROUNDS

SOCKET leads to a daemon, process PID, whose export "" has at least 128 MiB and is
written. For each kind of hostile client, ROUNDS times in turn: NBDLOAD alone, and
beside them. Prints a line for each kind; fails when the best of the rounds keeps less
than what is demanded, or the daemon takes more memory than it may.
"""
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
from raw_nbd import DF, MIB, KIB, OPT_LIST, READ, WRITE, Client, Closed  # noqa: E402

SECONDS = 0.5
LOADS = (("randread", "4096", "16"), ("read", "131072", "8"))
# What docs/security.md promises: of the rest of the machine a hostile client takes its share.
KEPT_MIN = 0.8
# Buffers and connections of two workers.
RSS_MAX = 2 * (64 * MIB) + 96 * MIB


def rss(pid):
    with open("/proc/%d/statm" % pid, encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(nbdload, path, kind, block, depth):
    out = subprocess.run([nbdload, "nbd+unix:///?socket=" + path, kind, block, depth, "1",
                          str(SECONDS), "0"], check=True, capture_output=True, text=True).stdout
    words = out.split()
    return float(words[words.index("kiops") + 1])


class Idle:
    """Hundreds that never choose an export, and come again when they are cut off."""
    def __init__(self, path):
        self.clients = [Client(path, flags=None) for _ in range(300)]

    def stop(self):
        for client in self.clients:
            client.close()


class NeverRead:
    """Ask for all that they may, and take none of it."""
    def __init__(self, path):
        self.clients = []
        for number in range(16):
            client = Client(path, go="", structured=True)
            for cookie in range(64):
                client.request(READ, cookie * MIB, (MIB, 4 * KIB)[number % 2], DF)
            self.clients.append(client)
        time.sleep(0.2)

    stop = Idle.stop


class HalfWrites:
    """Announce the largest payload, and send none of it."""
    def __init__(self, path):
        self.clients = []
        for _ in range(32):
            client = Client(path, go="")
            client.request(WRITE, 0, 32 * MIB, payload=b"")
            self.clients.append(client)
        time.sleep(0.2)

    stop = Idle.stop


class Storm:
    """Connect, say something, leave: a hundred times a second, all the time."""
    def __init__(self, path):
        self.path, self.over, self.nr = path, False, 0
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.over:
            client = socket.socket(socket.AF_UNIX)
            client.connect(self.path)
            client.send(b"\0\0\0\3IHAVEOPT"[:self.nr % 13])
            client.close()
            self.nr += 1
            time.sleep(0.01)

    def stop(self):
        self.over = True
        self.thread.join()


class Haggler:
    """Go through the options for ever."""
    def __init__(self, path):
        self.path, self.over = path, False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.over:
            try:
                client = Client(self.path)
                while not self.over:
                    client.ask(OPT_LIST)
                    time.sleep(0.002)
            except (Closed, AssertionError):
                continue

    def stop(self):
        self.over = True
        self.thread.join()


def main():
    path, pid, nbdload, rounds = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    failed, figures = [], []
    for hostile in Idle, NeverRead, HalfWrites, Storm, Haggler:
        for load in LOADS:
            kept = []
            for _ in range(rounds):
                alone = measure(nbdload, path, *load)
                others = hostile(path)
                kept.append(measure(nbdload, path, *load) / alone)
                taken = rss(pid)
                others.stop()
                if taken > RSS_MAX:
                    failed.append("%s: %d MiB of memory" % (hostile.__name__, taken // MIB))
            # The machine has other things to do, now and then: what it could do counts.
            middle, best = statistics.median(kept), max(kept)
            print("%-10s beside %-8s of %6s: kept %.2f (%s), %d MiB" % (
                hostile.__name__, load[0], load[1], middle,
                " ".join("%.2f" % k for k in sorted(kept)), taken // MIB), flush=True)
            figures.append("%s %.2f" % (hostile.__name__, middle))
            if best < KEPT_MIN:
                failed.append("%s beside %s: %.2f" % (hostile.__name__, load[0], best))
    began = time.monotonic()
    for _ in range(10000):
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        client.close()
    took = time.monotonic() - began
    measure(nbdload, path, *LOADS[0])
    print("10,000 connects in %.1f s, %d MiB" % (took, rss(pid) // MIB))
    if rss(pid) > RSS_MAX:
        failed.append("after 10,000 connects: %d MiB of memory" % (rss(pid) // MIB))
    for text in failed:
        print("not ok: " + text)
    print("figures: kept " + ", ".join(figures))
    return 1 if failed else 0


sys.exit(main())
