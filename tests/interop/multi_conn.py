#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Several connections to one export: write on one, flush on another, read on a third.

    multi_conn.py SOCKET write|check
"""
import random
import sys

import nbd

CONNECTIONS = 8
ROUNDS = 200
PIECE = 4096


def connect(path):
    handle = nbd.NBD()
    handle.connect_uri("nbd+unix:///?socket=" + path)
    assert handle.can_multi_conn()
    return handle


def content(number):
    return b"%015d;" % number * (PIECE // 16)


def places(size):
    """The same in each run; every round has one of its own."""
    return random.Random(7).sample(range(size // PIECE), ROUNDS)


def write(handles, chosen):
    noise = random.Random()
    for number, place in enumerate(chosen):
        one, two, three = noise.sample(handles, 3)
        one.pwrite(content(number), place * PIECE)
        assert two.pread(PIECE, place * PIECE) == content(number), number
        two.flush()
        assert three.pread(PIECE, place * PIECE) == content(number), number
        # Over what is there: in place, and zeroed by yet another.
        three.pwrite(content(number + ROUNDS), place * PIECE)
        assert one.pread(PIECE, place * PIECE) == content(number + ROUNDS), number
        if number % 5 == 0:
            two.trim(PIECE, place * PIECE)
            assert one.pread(PIECE, place * PIECE) == bytes(PIECE), number
    # The last word of all: one flush, on one connection.
    handles[0].flush()


def check(handle, chosen):
    for number, place in enumerate(chosen):
        wanted = bytes(PIECE) if number % 5 == 0 else content(number + ROUNDS)
        assert handle.pread(PIECE, place * PIECE) == wanted, number


def main():
    path, verb = sys.argv[1:]
    handles = [connect(path) for _ in range(CONNECTIONS)]
    chosen = places(handles[0].get_size())
    if verb == "write":
        write(handles, chosen)
    for handle in handles:
        check(handle, chosen)


main()
