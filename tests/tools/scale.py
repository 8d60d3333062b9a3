#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Clients in numbers, and disks that are written all over.

    scale.py exports SOCKET COUNT           the exports "1" to "COUNT" are listed, and can be read
    scale.py crowd SOCKET PID COUNT [full]  COUNT connections to the export "1": idle, then all at
                                            once with READs of 1 MiB; full: and no more than those
    scale.py storm SOCKET COUNT MIB         COUNT connections, each to an export of its own, read
                                            the first MIB MiB at once; the sum of what they read
    scale.py scatter SOCKET EXPORT COUNT STEP   write 4 KiB in each of COUNT places, STEP bytes
                                            apart (0: all over the disk); no flush
    scale.py verify SOCKET EXPORT COUNT STEP    that is there

Each prints its figures as NAME=VALUE.
"""
import hashlib
import os
import resource
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from raw_nbd import (KIB, MIB, OPT_LIST, READ, REP_SERVER, WRITE, Client, Closed)  # noqa: E402

PIECE = 4 * KIB
WINDOW = 32  # requests in flight


def rss_kib(pid):
    with open("/proc/%s/status" % pid, encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def exports(socket_path, count):
    count = int(count)
    replies = Client(socket_path).ask(OPT_LIST)
    names = {data[4:4 + struct.unpack(">I", data[:4])[0]].decode()
             for kind, data in replies if kind == REP_SERVER}
    assert names == {str(number) for number in range(1, count + 1)}, len(names)
    began = time.monotonic()
    for number in range(1, count + 1):
        client = Client(socket_path, go=str(number))
        assert client.read(0, PIECE) == bytes(PIECE)
        client.close()
    print("visit_us=%d" % ((time.monotonic() - began) / count * 1e6))


def crowd(socket_path, pid, count, full=None):
    count, before = int(count), rss_kib(pid)
    clients = [Client(socket_path, go="1") for _ in range(count)]
    for client in clients:
        assert client.do(READ, 0, PIECE).error == 0
    idle = rss_kib(pid)
    if full:
        for _ in range(20):
            try:
                Client(socket_path)
                raise AssertionError("more than %d connections" % count)
            except Closed:
                pass
    # They take their replies in the order in which they asked, which is that of the line.
    for client in clients:
        client.request(READ, 0, MIB)
    for client in clients:
        reply = client.reply(MIB)
        assert reply.error == 0 and len(reply.data) == MIB
    busy = rss_kib(pid)
    for client in clients[::2]:
        client.close()
    for client in clients[1::2]:
        assert client.do(READ, 0, PIECE).error == 0
    print("idle_kib=%d busy_kib=%d" % (idle - before, busy - before))


def storm(socket_path, count, nr_mib):
    count, size = int(count), int(nr_mib) * MIB
    sums = [None] * count
    gate = threading.Barrier(count)

    def boot(number):
        client = Client(socket_path, go=str(number + 1))
        digest = hashlib.sha256()
        gate.wait()
        for at in range(0, size, MIB):
            digest.update(client.read(at, MIB))
        sums[number] = digest.hexdigest()

    threads = [threading.Thread(target=boot, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(sums)) == 1 and sums[0], "they have read different bytes"
    print("sum=%s" % sums[0])


def place(number, step, size):
    """Multiplied by an odd number, each is somewhere else."""
    if step:
        return number * step
    pieces = size // PIECE
    return number * 0x9e3779b97f4a7c15 % (1 << 64) % pieces * PIECE


def content(number):
    return struct.pack("<Q", number + 1) * (PIECE // 8)


def scatter(socket_path, name, count, step):
    count, step = int(count), int(step)
    client = Client(socket_path, go=name)
    client.sent = _Nothing()
    for number in range(count + WINDOW):
        if number >= WINDOW:
            assert client.reply().error == 0
        if number < count:
            client.request(WRITE, place(number, step, client.size), PIECE,
                           payload=content(number))


def verify(socket_path, name, count, step):
    count, step = int(count), int(step)
    client = Client(socket_path, go=name)
    for number in range(count):
        assert client.read(place(number, step, client.size), PIECE) == content(number), number


class _Nothing:
    """Of megabytes no record is kept."""

    def append(self, data):
        pass


def main():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    {"exports": exports, "crowd": crowd, "storm": storm, "scatter": scatter,
     "verify": verify}[sys.argv[1]](*sys.argv[2:])


main()
