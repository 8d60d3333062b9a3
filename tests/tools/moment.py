#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
Is an export of a disk in use the disk at one instant? Clients write, trim and zero while it
runs, and remember when they began each and when it was acknowledged.

  moment.py SOCKET FILE COMMAND...            COMMAND exports to FILE, raw
  moment.py SOCKET --control PATH [--slow]    the control socket is asked here

What was acknowledged before it began is in it; what began after it ended (or, at the control
socket, after the answer) is not; and of two writes, one of which began when the other had been
acknowledged, the later one is not without the earlier.
"""
import json
import os
import random
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import nbd

SECTOR = 512
STRIPE = 32  # sectors: several clients share a chunk
SHARERS = 4
OWNERS = 2  # clients with large requests, each with a part of the disk of its own
WARM_S = 0.7
RUN = os.getpid() << 32  # no stamp of an earlier run is one of ours


def fail(*what):
    raise SystemExit("failed: " + " ".join(str(w) for w in what))


class Client(threading.Thread):
    """What it did: self.ops[i] = (began_ns, acked_ns, first sector, sectors, stamp or 0 for zeros)."""

    def __init__(self, number, uri, nr_sectors):
        super().__init__(daemon=True)
        self.number = number
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)
        self.nr_sectors = nr_sectors
        self.ops = []
        self.over = False
        self.error = None
        self.random = random.Random(number)

    def place(self):
        half = self.nr_sectors // 2
        if self.number < SHARERS:
            stripes = half // STRIPE // SHARERS
            stripe = self.random.randrange(stripes) * SHARERS + self.number
            first = self.random.randrange(STRIPE)
            return stripe * STRIPE + first, self.random.randrange(1, STRIPE - first + 1)
        part = half // OWNERS
        length = self.random.choice((8, 200, 2048, 8192))
        first = self.random.randrange(part - length)
        return half + (self.number - SHARERS) * part + first, length

    def one(self):
        first, length = self.place()
        kind = self.random.random()
        stamp = RUN + len(self.ops) * 64 + self.number + 1
        if kind < 0.7:
            data = b"".join(struct.pack("<QQ", stamp, s) * 32 for s in range(first, first + length))
            began = time.monotonic_ns()
            self.handle.pwrite(data, first * SECTOR,
                               nbd.CMD_FLAG_FUA if kind < 0.02 else 0)
        else:
            stamp = 0
            began = time.monotonic_ns()
            if kind < 0.85:
                self.handle.zero(length * SECTOR, first * SECTOR,
                                 nbd.CMD_FLAG_NO_HOLE if kind < 0.75 else 0)
            else:
                self.handle.trim(length * SECTOR, first * SECTOR)
        self.ops.append((began, time.monotonic_ns(), first, length, stamp))

    def run(self):
        try:
            while not self.over:
                self.one()
                # Python: or one of them would have the interpreter all the time.
                time.sleep(0.0002)
        except nbd.Error as error:
            self.error = str(error)


def histories(clients, nr_sectors):
    """Of each sector its requests in order: it is one client's."""
    table = [[] for _ in range(nr_sectors)]
    for client in clients:
        for op in client.ops:
            entry = (op[0], op[1], op[4])
            for sector in range(op[2], op[2] + op[3]):
                table[sector].append(entry)
    return table


def value_of(data, initial, sector):
    """A stamp, 0: zeros, or None: what was there before anybody wrote."""
    block = data[sector * SECTOR:(sector + 1) * SECTOR]
    stamp, number = struct.unpack_from("<QQ", block)
    if block == bytes(SECTOR):
        return 0
    if stamp > RUN and number == sector and block == struct.pack("<QQ", stamp, number) * 32:
        return stamp
    if block != initial[sector * SECTOR:(sector + 1) * SECTOR]:
        fail("sector", sector, "is not what anybody wrote:", block[:32].hex())
    return None


def check(data, initial, table, before_ns, after_ns):
    """before_ns: what was acknowledged by then is in it; after_ns: what began later is not."""
    stamps = [value_of(data, initial, sector) for sector in range(len(table))]
    # The latest write that is in it began here: all that was acknowledged by then is in it, too.
    latest = before_ns
    for sector, stamp in enumerate(stamps):
        if stamp:
            mine = [op for op in table[sector] if op[2] == stamp]
            if not mine:
                fail("sector", sector, "holds a write of nobody")
            latest = max(latest, mine[0][0])
    if latest > after_ns:
        fail("a write that began", latest - after_ns, "ns too late is in it")
    for sector, stamp in enumerate(stamps):
        ops = [(0, 0, value_of(initial, initial, sector))] + table[sector]
        allowed = [op for at, op in enumerate(ops) if op[0] <= after_ns and
                   not (at + 1 < len(ops) and ops[at + 1][1] < latest)]
        if stamp not in [op[2] for op in allowed]:
            fail("sector", sector, "is", stamp, "of", [op[2] for op in ops], "and may be",
                 [op[2] for op in allowed], "latest", latest, [op[:2] for op in ops])
    return stamps


class Control:
    """docs/control.md, "export"."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(60)
        self.lines = self.socket.makefile("rb")

    def answer(self):
        line = json.loads(self.lines.readline())
        if "error" in line:
            fail(line["error"])
        return line

    def ask(self, **request):
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        return self.answer()

    def begin(self):
        if self.ask(verb="export") != {"send": 1}:
            fail("no scratch file is asked for")
        self.scratch = tempfile.TemporaryFile(dir=".")
        before = time.monotonic_ns()
        socket.send_fds(self.socket, [b"\0"], [self.scratch.fileno()])
        self.facts = self.answer()
        return before, time.monotonic_ns()

    def read_all(self, slow):
        size = self.facts["disk_bytes"]
        data = bytearray(size)
        at = 0
        while at < size:
            extent = self.ask(extent=at)
            end = at + extent["length_bytes"]
            while not extent["hole"] and at < end:
                length = min(self.facts["read_bytes_max"], end - at)
                if self.ask(read=at, length_bytes=length)["length_bytes"] != length:
                    fail("another length")
                data[at:at + length] = self.lines.read(length)
                at += length
                time.sleep(0.02 if slow else 0)
            at = end
        return bytes(data)


def export_by_control(path, slow):
    control = Control(path)
    before, after = control.begin()
    data = control.read_all(slow)
    used = os.fstat(control.scratch.fileno()).st_blocks * 512
    return data, before, after, used


def export_by_command(file, command):
    before = time.monotonic_ns()
    if subprocess.run(command).returncode != 0:
        fail("exit status of", *command)
    with open(file, "rb") as stream:
        return stream.read(), before, time.monotonic_ns(), 0


def read_disk(handle):
    size = handle.get_size()
    return b"".join(handle.pread(min(1 << 20, size - at), at) for at in range(0, size, 1 << 20))


def main():
    uri = "nbd+unix:///?socket=" + sys.argv[1]
    first = nbd.NBD()
    first.connect_uri(uri)
    nr_sectors = first.get_size() // SECTOR
    initial = read_disk(first)
    clients = [Client(number, uri, nr_sectors) for number in range(SHARERS + OWNERS)]
    for client in clients:
        client.start()
    time.sleep(WARM_S)
    if sys.argv[2] == "--control":
        result = export_by_control(sys.argv[3], "--slow" in sys.argv)
    else:
        result = export_by_command(sys.argv[2], sys.argv[3:])
    data, before, after, used = result
    during = sum(op[0] > before for client in clients for op in client.ops)
    for client in clients:
        client.over = True
    for client in clients:
        client.join(30)
        if client.is_alive() or client.error:
            fail("client", client.number, client.error or "hangs")
    table = histories(clients, nr_sectors)
    check(data[:len(initial)], initial, table, before, after)
    # What the clients themselves see is their last writes: nothing was held back or lost.
    now = read_disk(first)
    for sector in range(nr_sectors):
        last = table[sector][-1][2] if table[sector] else value_of(initial, initial, sector)
        if value_of(now, initial, sector) != last:
            fail("sector", sector, "of the disk is not what was written last")
    print("%d requests, %d of them since; scratch %d KiB" % (
        sum(len(client.ops) for client in clients), during, used >> 10))


main()
