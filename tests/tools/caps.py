#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Clients that take more than their share, or all the time in the world.

    caps.py deadline|share|stall|holes|places SOCKET [PLACES]

Wants an export "" of at least 128 MiB at SOCKET; for share and stall, of a daemon
with one worker. PLACES: how many connections it takes.
"""
import os
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from raw_nbd import (CACHE, DF, KIB, MIB, OPT_LIST, READ, SECTOR, WRITE,  # noqa: E402
                     Client, Closed)


def is_served(client, turns=20):
    """Returns the longest time that a request took."""
    longest = 0
    for number in range(turns):
        began = time.monotonic()
        data = bytes([number]) * MIB
        assert client.do(WRITE, 100 * MIB, MIB, payload=data).error == 0
        assert client.read(100 * MIB, MIB) == data
        longest = max(longest, time.monotonic() - began)
    return longest


def deadline(path):
    """No export chosen in 10 s: closed, whatever the client does meanwhile. Others stay."""
    began = time.monotonic()
    idle = Client(path, go="")
    silent = Client(path, flags=None)
    flags_only = Client(path)
    half = Client(path)
    half.send(b"IHAVEOPT\0\0\0\7\0\0\0\x40")
    busy = Client(path)
    waiting = {"silent": silent, "flags only": flags_only, "half an option": half, "busy": busy}
    while waiting:
        time.sleep(0.25)
        age = time.monotonic() - began
        assert age < 13, "still connected: %s" % ", ".join(waiting)
        for name, client in list(waiting.items()):
            if is_over(name, client):
                assert age > 9, "%s: closed after %.1f s" % (name, age)
                del waiting[name]
    is_served(idle)


def is_over(name, client):
    try:
        if name == "busy":
            client.ask(OPT_LIST)
            return False
        client.socket.settimeout(0.01)
        client.take(1)
    except socket.timeout:
        return False
    except Closed:
        return True
    raise AssertionError("unexpected bytes: " + name)


def hoard_replies(path, count, length):
    """Asks, and takes nothing of what comes."""
    client = Client(path, go="", structured=True)
    for number in range(count):
        client.request(READ, number * length % (64 * MIB), length, DF)
    return client


def hoard_writes(path, length):
    """Announces a payload, and sends half of it."""
    client = Client(path, go="")
    client.request(WRITE, 0, length, payload=b"x" * (length // 2))
    return client


def share(path):
    """One such client, of any kind, is in nobody's way."""
    for hoarder in (lambda: hoard_replies(path, 64, MIB), lambda: hoard_replies(path, 4, 32 * MIB),
                    lambda: hoard_replies(path, 64, 4 * KIB), lambda: hoard_writes(path, 32 * MIB),
                    lambda: hoard_replies(path, 40, 600 * KIB)):
        slow = hoarder()
        time.sleep(0.2)
        other = Client(path, go="")
        longest = is_served(other)
        assert longest < 3, "a request took %.1f s" % longest
        assert other.do(CACHE, 0, SECTOR).error == 0
        # The slow one gets all it asked for, once it takes it.
        slow.close()
        other.close()
    slow = hoard_replies(path, 40, 2 * MIB)
    time.sleep(0.2)
    for _ in range(40):
        assert slow.reply().error == 0


def stall(path):
    """As many as take all they can: who wants little is served, who wants much when they are cut off."""
    for hoarder in (lambda: hoard_replies(path, 4, 32 * MIB), lambda: hoard_writes(path, 32 * MIB)):
        slow = [hoarder() for _ in range(2)]
        time.sleep(0.3)
        other = Client(path, go="")
        began = time.monotonic()
        is_served(other, 1)
        taken = time.monotonic() - began
        assert taken < 2, "served after %.1f s" % taken
        large = hoard_replies(path, 2, 16 * MIB)
        for _ in range(2):
            assert large.reply().error == 0
        taken = time.monotonic() - began
        assert taken < 14, "32 MiB were served after %.1f s" % taken
        assert is_served(other) < 3
        large.close()
        for client in slow:
            client.close()


def holes(path):
    """Nothing is stored there: each READ is done at once, and its reply waits for no tick."""
    client = Client(path, go="")
    taken = []
    for number in range(21):
        began = time.monotonic()
        assert client.read((32 + number) * MIB, MIB) == bytes(MIB)
        taken.append(time.monotonic() - began)
    # Those that wait for ticks all take one; a busy machine holds up some.
    assert sorted(taken)[4] < 0.04, "READs of a hole take %.3f s" % sorted(taken)[4]


def places(path, count):
    """All places taken: refused; those who have one go on; one who leaves makes room."""
    clients = [Client(path, go="") for _ in range(count)]
    for _ in range(50):
        try:
            Client(path)
            raise AssertionError("more than %d connections" % count)
        except Closed:
            pass
    for client in clients:
        assert client.do(READ, 0, SECTOR).error == 0
    # Every second one leaves: with two workers, all of one worker's.
    for client in clients[::2]:
        client.close()
    time.sleep(0.5)
    clients = clients[1::2] + [Client(path, go="") for _ in clients[::2]]
    for client in clients:
        assert client.do(READ, 0, SECTOR).error == 0
        client.close()


CASES = {"deadline": deadline, "share": share, "stall": stall, "holes": holes}
if sys.argv[1] == "places":
    places(sys.argv[2], int(sys.argv[3]))
else:
    CASES[sys.argv[1]](sys.argv[2])
