#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An NBD client without manners: breaks the protocol in each place.

    bad_requests.py SOCKET

After each case an ordinary client must find the server as before. Wants an
export "" that nobody else uses; its first MiB is overwritten.
"""
import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from raw_nbd import *  # noqa: F403,E402  one vocabulary, as in the protocol's text


def served(path, structured=False):
    """A client that has chosen the export."""
    return Client(path, go="", structured=structured)


def ended(client):
    assert client.is_closed(), "the connection is still open"


# ---- requests that get an error, and the connection goes on ---------------------------

def judged(path):
    for structured in False, True:
        client = served(path, structured)
        size = client.size

        def expect(error, command, offset=0, length=0, flags=0):
            got = client.do(command, offset, length, flags).error
            assert got == error, (
                "error %d, not %d: command %d, flags %d, offset %d, length %d"
                % (got, error, command, flags, offset, length))

        for command in READ, WRITE, TRIM, ZEROES, CACHE:
            past = ENOSPC if command in (WRITE, ZEROES) else EINVAL
            expect(EINVAL, command, 1, SECTOR)
            expect(EINVAL, command, 0, SECTOR - 1)
            expect(EINVAL, command, 511, 1)
            expect(past, command, size, SECTOR)
            expect(past, command, size - SECTOR, 2 * SECTOR)
            expect(past, command, (1 << 64) - SECTOR, SECTOR)
            expect(past, command, 1 << 63, SECTOR)
            expect(EINVAL, command, 0, SECTOR, flags=1 << 15)
            expect(0, command, size - SECTOR, SECTOR)
            expect(0, command, 0, SECTOR, flags=FUA)
            expect(0, command, 0, 0)
        for command, flags in ((READ, NO_HOLE), (WRITE, DF), (TRIM, FAST_ZERO), (CACHE, REQ_ONE),
                               (READ, REQ_ONE), (WRITE, NO_HOLE), (FLUSH, DF)):
            expect(EINVAL, command, 0, 0 if command == FLUSH else SECTOR, flags=flags)
        expect(0 if structured else EINVAL, READ, 0, SECTOR, flags=DF)
        expect(ENOTSUP, ZEROES, 0, SECTOR, flags=FAST_ZERO | NO_HOLE)
        expect(EINVAL, FLUSH, 512, 0)
        expect(EINVAL, FLUSH, 0, 512)
        expect(0, FLUSH)
        expect(EINVAL, STATUS, 0, SECTOR)  # no context was chosen
        for command in 8, 9, 255, 65535:
            expect(EINVAL, command, 0, SECTOR)
        expect(EOVERFLOW if structured else EINVAL, READ, 0, 33 * MIB)
        expect(EINVAL, READ, 0, 0xfffffe00)
        expect(EINVAL, WRITE, 0, 33 * MIB)
        expect(0, READ, 0, 32 * MIB)
        expect(0, WRITE, 0, 32 * MIB)
        expect(ENOSPC, WRITE, size - MIB, 2 * MIB)
        client.request(DISC)
        ended(client)


def write_of_65_mib(path):
    """Longer than what is swallowed: closed at once, or an error; the stream stays in step."""
    client = served(path)
    try:
        assert client.do(WRITE, 0, 65 * MIB).error == EINVAL
        assert client.do(READ, 0, SECTOR).error == 0
    except Closed:
        pass


# ---- what breaks the stream: the connection is closed ------------------------------------

def wrong_request_magic(path):
    client = served(path)
    client.request(READ, 0, SECTOR, magic=0x12345678)
    ended(client)


def garbage(path):
    noise = random.Random(1)
    for size in 1, 16, 28, 1000, 100000:
        for client in Client(path, flags=None), Client(path), served(path):
            try:
                client.send(b"\xff" + noise.randbytes(size - 1))
                client.socket.shutdown(socket.SHUT_WR)
                ended(client)
            except Closed:
                pass


def half_things(path):
    """Each prefix of an ordinary conversation, then silence and the end."""
    talk = struct.pack(">I", 3) + IHAVEOPT + struct.pack(">II", OPT_GO, 6) + info_data(b"")
    request = struct.pack(">IHHQQI", REQUEST, 0, WRITE, 1, 0, SECTOR) + bytes(SECTOR)
    for size in list(range(len(talk))) + [len(talk) + n for n in (1, 27, 28, 29, 300, 539)]:
        client = Client(path, flags=None)
        client.send((talk + request)[:size])
        client.close()


def gone_before_the_reply(path):
    for command, length in (READ, 32 * MIB), (WRITE, 4 * MIB), (FLUSH, 0), (STATUS, SECTOR):
        for _ in range(8):
            client = served(path)
            client.request(command, 0, length)
            client.close()


def never_reads(path):
    """Asks for far more than the sockets hold, reads nothing, and leaves."""
    client = served(path)
    client.socket.settimeout(0.5)
    try:
        for _ in range(200):
            client.request(READ, 0, MIB)
    except (socket.timeout, Closed):
        pass
    time.sleep(0.2)
    client.close()


# ---- the handshake --------------------------------------------------------------------------

def request_before_go(path):
    client = Client(path)
    try:
        client.request(READ, 0, SECTOR)
        ended(client)
    except Closed:
        pass


def unknown_client_flags(path):
    client = Client(path, flags=0x80)
    ended(client)


def odd_options(path):
    client = Client(path)
    long_name = b"n" * 4096
    assert client.ask(99)[0][0] == ERR_UNSUP
    assert client.ask(0xffffffff, b"x" * 100)[0][0] == ERR_UNSUP
    assert client.ask(OPT_STARTTLS)[0][0] >= ERR_UNSUP
    assert client.ask(OPT_LIST, b"x")[0][0] == ERR_INVALID
    assert client.ask(OPT_STRUCTURED, b"x")[0][0] == ERR_INVALID
    for option in OPT_INFO, OPT_GO:
        assert client.ask(option)[0][0] == ERR_INVALID
        assert client.ask(option, b"\0\0\0\1")[0][0] == ERR_INVALID
        assert client.ask(option, struct.pack(">I", 0xffffffff) + b"ab")[0][0] == ERR_INVALID
        assert client.ask(option, info_data(b"")[:-2] + b"\0\5\0\0")[0][0] == ERR_INVALID
        assert client.ask(option, info_data(b"nobody"))[0][0] == ERR_UNKNOWN
        assert client.ask(option, info_data(long_name))[0][0] == ERR_UNKNOWN
        assert client.ask(option, info_data(long_name + b"n"))[0][0] >= ERR_UNSUP
        assert client.ask(option, info_data(b"\xff\xfe\0"))[0][0] >= ERR_UNSUP
    # Contexts want structured replies first.
    assert client.ask(OPT_SET_META, meta_data(b"", b"base:allocation"))[0][0] == ERR_INVALID
    assert client.ask(OPT_STRUCTURED)[0][0] == REP_ACK
    for option in OPT_LIST_META, OPT_SET_META:
        assert client.ask(option, b"")[0][0] == ERR_INVALID
        assert client.ask(option, meta_data(b"nobody", b"base:"))[0][0] == ERR_UNKNOWN
        assert client.ask(option, meta_data(b"", b"q" * 4096))[-1][0] == REP_ACK
        assert client.ask(option, meta_data(b"", b"base:allocation") + b"x")[0][0] == ERR_INVALID
        assert client.ask(option, struct.pack(">II", 0, 0xffffffff))[0][0] >= ERR_UNSUP
    # After all that the same connection still works.
    assert client.ask(OPT_GO, info_data(b""))[-1][0] == REP_ACK
    client.structured = True
    assert client.do(READ, 0, SECTOR).error == 0


def long_options(path):
    client = Client(path)
    assert client.ask(OPT_GO, bytes(100 << 10))[0][0] >= ERR_UNSUP  # skipped
    assert client.ask(OPT_LIST)[-1][0] == REP_ACK
    try:
        client.option(OPT_GO, b"", length=0xffffffff)
        ended(client)
    except Closed:
        pass


def many_options(path):
    client = Client(path)
    try:
        for _ in range(100000):
            client.ask(OPT_LIST)
        raise AssertionError("options without end")
    except Closed:
        pass


def wrong_option_magic(path):
    client = Client(path)
    client.option(OPT_LIST, magic=b"IHAVENOT")
    ended(client)


def old_export_name(path):
    client = Client(path, flags=FIXED_NEWSTYLE)
    client.option(OPT_EXPORT_NAME, b"")
    assert len(client.take(134)) == 134
    assert client.do(READ, 0, SECTOR).error == 0
    client = Client(path)
    client.option(OPT_EXPORT_NAME, b"n" * 4096)
    ended(client)
    client = Client(path)
    assert client.ask(OPT_ABORT)[-1][0] == REP_ACK
    ended(client)


def many_connections(path):
    """More than there are places for: some may be refused, none does harm."""
    clients = []
    for _ in range(300):
        try:
            clients.append(Client(path))
        except (Closed, ConnectionError):
            pass
    assert clients
    for client in clients:
        client.close()


CASES = (judged, write_of_65_mib, wrong_request_magic, garbage, half_things,
         gone_before_the_reply, never_reads, request_before_go, unknown_client_flags, odd_options,
         long_options, many_options, wrong_option_magic, old_export_name, many_connections)


def still_serves(path):
    mark = struct.pack(">Q", time.monotonic_ns()) * (4096 // 8)
    end = time.monotonic() + 15
    while True:
        try:
            client = served(path)
            break
        except (Closed, ConnectionError):
            # The places of those who left come free a moment later.
            assert time.monotonic() < end, "no connection for 15 s"
            time.sleep(0.05)
    assert client.do(WRITE, 0, len(mark), payload=mark).error == 0
    assert client.read(0, len(mark)) == mark
    client.request(DISC)
    client.close()


def main():
    path = sys.argv[1]
    for case in CASES:
        began = time.monotonic()
        case(path)
        still_serves(path)
        print("- %s (%.1f s)" % (case.__name__.replace("_", " "), time.monotonic() - began),
              flush=True)


main()
