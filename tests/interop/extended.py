#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What sealblkd does with the NBD protocol's extended headers where they leave it a choice,
and with exports that are large, one line for each thing.

    extended.py SOCKET

SOCKET leads to a daemon with the exports "" of at least 128 MiB, "big" of 8 GiB
and "huge" of 1 TiB or more. What they hold is overwritten. Prints as
conformance.py does; nbd-conformance has the demands.
"""
import os
import random
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
import conformance  # noqa: E402
from conformance import (ALLOCATION, ENCRYPTION, HOLE_AND_ZERO, noise, one_of,  # noqa: E402
                         shaking, still_serves)
from demands import ROWS, equal, row, run_all  # noqa: E402
from raw_nbd import *  # noqa: F403,E402  one vocabulary, as in the protocol's text

GIB = 1 << 30
ROWS.clear()  # its own: they are another program's


def serving(go="", contexts=(ALLOCATION, ENCRYPTION)):
    return conformance.serving(go=go, contexts=contexts, extended=True)


# ---- negotiation ---------------------------------------------------------------------

@row("EXPORT_NAME after EXTENDED_HEADERS: closed")
def _():
    client = shaking()
    client.negotiate_extended()
    client.option(OPT_EXPORT_NAME, b"")
    assert client.is_closed()


@row("a compact request: closed, before it is whole as well; an extended one nobody negotiated too")
def _():
    for size in 28, 4:
        client = serving()
        client.send(struct.pack(">IHHQQI", REQUEST, 0, READ, 1, 0, SECTOR)[:size])
        assert client.is_closed()
    client = conformance.serving(structured=True)
    client.send(struct.pack(">IHHQQQ", REQUEST_EXT, 0, READ, 1, 0, SECTOR))
    assert client.is_closed()


# ---- replies -------------------------------------------------------------------------

@row("errors: a chunk with a text, whatever the command")
def _():
    client = serving()
    for command in READ, WRITE, TRIM, CACHE, ZEROES, STATUS, 9:
        reply = client.do(command, 1, SECTOR)
        equal(EINVAL, reply.error)
        kind, payload = reply.chunks[-1]
        one_of((CHUNK_ERROR, CHUNK_ERROR_OFFSET), kind)
        assert struct.unpack(">H", payload[4:6])[0] > 0


@row("READ: data and holes, DF and not, the same bytes as with other headers")
def _():
    client = serving()
    client.do(WRITE, 0, 8 * MIB)  # holes of the base are read as data
    client.do(ZEROES, 0, 8 * MIB)
    for at in range(0, 8 * MIB, 2 * MIB):
        client.do(WRITE, at, MIB, payload=noise(MIB, at))
    reply = client.do(READ, 0, 8 * MIB)
    equal({CHUNK_DATA, CHUNK_HOLE}, {kind for kind, _ in reply.chunks})
    equal([CHUNK_DATA], [kind for kind, _ in client.do(READ, 0, 8 * MIB, DF).chunks])
    wanted = conformance.serving().read(0, 8 * MIB)
    assert assemble(reply, 0, 8 * MIB) == wanted
    assert client.read(0, 8 * MIB, DF) == wanted


# ---- payloads ------------------------------------------------------------------------

@row("a payload of more than 32 MiB: closed")
def _():
    for command in WRITE, READ, STATUS, 99:
        for length in 32 * MIB + 1, 1 << 32, 1 << 40, (1 << 64) - 1:
            client = serving()
            client.request_extended(command, 0, length, PAYLOAD_LEN)
            assert client.is_closed(), (command, length)


@row("DISC with PAYLOAD_LEN and a length: closed all the same")
def _():
    client = serving()
    client.request_extended(DISC, 0, 1 << 20, PAYLOAD_LEN)
    assert client.is_closed()


# ---- 64 bits -------------------------------------------------------------------------

@row("TRIM, WRITE_ZEROES, CACHE, BLOCK_STATUS of 8 GiB in one request")
def _():
    client = serving("big")
    client.do(WRITE, 6 * GIB, MIB, payload=noise(MIB))
    for command in CACHE, TRIM, ZEROES:
        client.do(WRITE, 6 * GIB, MIB, payload=noise(MIB))
        equal({ALLOCATION: [(6 * GIB, HOLE_AND_ZERO), (MIB, 0), (2 * GIB - MIB, HOLE_AND_ZERO)],
               ENCRYPTION: [(6 * GIB, 1), (MIB, 3), (2 * GIB - MIB, 1)]},
              client.status(0, 8 * GIB))
        equal(0, client.do(command, 0, 8 * GIB).error, "command %d" % command)
        equal(noise(MIB) if command == CACHE else bytes(MIB), client.read(6 * GIB, MIB))
    equal({ALLOCATION: [(8 * GIB, HOLE_AND_ZERO)], ENCRYPTION: [(8 * GIB, 1)]},
          client.status(0, 8 * GIB))


@row("WRITE_ZEROES of 8 GiB: FAST_ZERO as well; NO_HOLE up to 4 GiB, then EOVERFLOW or ENOTSUP")
def _():
    client = serving("big")
    client.do(WRITE, 5 * GIB, MIB, payload=noise(MIB))
    equal(EOVERFLOW, client.do(ZEROES, 0, 8 * GIB, NO_HOLE).error)
    equal(ENOTSUP, client.do(ZEROES, 0, 8 * GIB, NO_HOLE | FAST_ZERO).error)
    assert client.read(5 * GIB, MIB) == noise(MIB)
    equal(0, client.do(ZEROES, 0, 8 * GIB, FAST_ZERO | FUA).error)
    equal(bytes(MIB), client.read(5 * GIB, MIB))


@row("READ of more than 32 MiB: EOVERFLOW, or EINVAL where it is past the end")
def _():
    client = serving("big")
    for flags in 0, DF:
        for length in 32 * MIB + SECTOR, 1 << 32, 8 * GIB, (1 << 64) - SECTOR:
            wanted = EOVERFLOW if length <= client.size else EINVAL
            equal(wanted, client.do(READ, 0, length, flags).error)
    still_serves(client)


@row("BLOCK_STATUS: 64-bit extents, no more than asked for with REQ_ONE, neighbours differ")
def _():
    client = serving("huge")
    client.do(TRIM, 0, client.size)
    for extents in client.status(0, client.size, REQ_ONE).values():
        equal([client.size], [size for size, _ in extents])
    client.do(WRITE, client.size - MIB, SECTOR)
    for extents in client.status(SECTOR, client.size - SECTOR).values():
        equal([client.size - MIB - SECTOR, SECTOR, MIB - SECTOR], [size for size, _ in extents])
    for length in SECTOR, 1 << 32, (1 << 32) + SECTOR, client.size - MIB:
        for extents in client.status(0, length, REQ_ONE).values():
            equal([length], [size for size, _ in extents])


@row("a scattered range: no more extents than there is room for, and a walk comes to its end")
def _():
    client = serving("")
    client.do(ZEROES, 0, 8 * MIB)
    for sector in range(0, 8 * MIB // SECTOR, 4):
        client.request(WRITE, sector * SECTOR, SECTOR, cookie=sector)
        if sector >= 128:
            client.reply()
    for _ in range(32):
        client.reply()
    at = turns = 0
    while at < 8 * MIB:
        extents = client.status(at, 8 * MIB - at)[ALLOCATION]
        assert extents and all(a[1] != b[1] for a, b in zip(extents, extents[1:]))
        at += sum(size for size, _ in extents)
        turns += 1
    equal(8 * MIB, at)
    assert turns <= 8, turns


@row("the longest requests hold nobody up: other clients are served meanwhile")
def _():
    long = serving("huge")
    others = [conformance.serving() for _ in range(4)]  # some of them on the same worker
    slowest = 0
    for command in TRIM, ZEROES, CACHE, STATUS:
        for cookie in range(32):
            long.request(command, 0, long.size, cookie=cookie)
        for turn in range(60):
            start = time.monotonic()
            equal(0, others[turn % 4].do(READ, 0, SECTOR).error)
            slowest = max(slowest, time.monotonic() - start)
        equal(set(range(32)), {reply.cookie for reply in (long.reply() for _ in range(32))})
    print("# slowest READ beside them: %.0f ms" % (slowest * 1000))
    assert slowest < 1, "%.1f s" % slowest


# ---- BLOCK_STATUS with a payload -----------------------------------------------------

def query(client, length, *ids, offset=0, flags=0):
    """The reply to a BLOCK_STATUS that names its contexts."""
    payload = struct.pack(">Q", length) + b"".join(struct.pack(">I", number) for number in ids)
    client.request_extended(STATUS, offset, len(payload), flags | PAYLOAD_LEN, 5, payload)
    reply = client.reply()
    equal(5, reply.cookie)
    return reply


def by_id(reply):
    equal(0, reply.error)
    return {struct.unpack(">I", payload[:4])[0]: extents(True, kind, payload)
            for kind, payload in reply.chunks}


@row("BLOCK_STATUS_PAYLOAD is shown with a context of this export, and of no other")
def _():
    assert serving().flags & STATUS_PAYLOAD
    client = shaking()
    client.negotiate_extended()
    client.select("big", ALLOCATION)
    client.go("")
    assert not client.flags & STATUS_PAYLOAD


@row("BLOCK_STATUS with a payload: those contexts, and no others")
def _():
    client = serving("big")
    client.do(TRIM, 0, 8 * GIB)
    client.do(WRITE, 5 * GIB, MIB)
    ids = client.contexts
    whole = {ids[name]: extents for name, extents in client.status(0, 8 * GIB).items()}
    equal(3, len(whole[ids[ALLOCATION]]))
    for wanted in (ids[ALLOCATION],), (ids[ENCRYPTION],), tuple(ids.values()), \
            tuple(ids.values())[::-1]:
        equal({number: whole[number] for number in wanted}, by_id(query(client, 8 * GIB, *wanted)))
    for extents in by_id(query(client, 6 * GIB, *ids.values(), flags=REQ_ONE)).values():
        equal([5 * GIB], [size for size, _ in extents])
    at = 5 * GIB + SECTOR
    equal({ids[ENCRYPTION]: [(SECTOR, 3)]},
          by_id(query(client, SECTOR, ids[ENCRYPTION], offset=at)))


@row("a payload that names no context, one twice, an unknown one or one not selected: EINVAL")
def _():
    client = serving()
    one, two = client.contexts.values()
    for ids in (), (one, one), (0,), (one, 0), (99,), (one, two, one), (0xffffffff,), (one + 32,):
        equal(EINVAL, query(client, SECTOR, *ids).error, repr(ids))
    client = serving(contexts=(ALLOCATION,))
    equal(EINVAL, query(client, SECTOR, *(number for number in (one, two)
                                          if number != client.contexts[ALLOCATION])).error)
    client = serving(contexts=())
    equal(EINVAL, query(client, SECTOR, one).error)
    still_serves(client)


@row("the length in the payload is judged as ever: aligned, not 0, inside the disk")
def _():
    client = serving()
    one = client.contexts[ALLOCATION]
    for offset, length in ((0, 0), (0, 1), (1, SECTOR), (0, client.size + SECTOR),
                           (client.size, SECTOR), (SECTOR, (1 << 64) - SECTOR),
                           (0, (1 << 64) - 1)):
        equal(EINVAL, query(client, length, one, offset=offset).error, (offset, length))
    equal(0, query(client, client.size, one).error)


# ---- hostile streams -----------------------------------------------------------------

@row("any header: an answer or the end of the connection, and the daemon serves on")
def _():
    rng = random.Random(3)
    numbers = (0, 1, 8, 12, 16, SECTOR, 4096, 1 << 20, 1 << 31, 1 << 32, 1 << 40, 1 << 63,
               (1 << 64) - SECTOR, (1 << 64) - 1)
    for _ in range(400):
        client = serving(rng.choice(("", "big")))
        client.socket.settimeout(5)
        for cookie in range(20):
            command = rng.choice((READ, WRITE, FLUSH, TRIM, CACHE, ZEROES, STATUS, 8, 0xffff))
            flags = rng.choice((0, PAYLOAD_LEN, PAYLOAD_LEN, rng.getrandbits(16)))
            length = rng.choice(numbers)
            payload = bytes(length) if flags & PAYLOAD_LEN and length <= 1 << 20 else b""
            client.request_extended(command, rng.choice(numbers), length, flags, cookie, payload)
            if flags & PAYLOAD_LEN and length > 1 << 20:
                break  # the rest would be its payload
            reply = client.reply()
            equal(cookie, reply.cookie)
            one_of((0, EPERM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP), reply.error)
        client.close()
    still_serves(serving())


@row("a client that vanishes at any byte: the daemon serves on, and many others at once")
def _():
    client = serving()
    query(client, MIB, *client.contexts.values())
    for command, offset, length, flags in (
            (WRITE, 0, SECTOR, FUA), (READ, 0, 64 * KIB, 0), (STATUS, 0, MIB, REQ_ONE),
            (TRIM, MIB, MIB, 0), (ZEROES, MIB, SECTOR, NO_HOLE), (9, 0, 8, PAYLOAD_LEN)):
        payload = bytes(8) if flags & PAYLOAD_LEN else None
        client.do(command, offset, length, flags, payload=payload)
    client.request(DISC)
    conformance.vanish_everywhere(conformance.UNIX, b"".join(client.sent), False)
    clients = []
    for _ in range(100):
        assert conformance.wait_until(lambda: conformance.is_served(clients)), len(clients)


@row("a conversation one byte at a time, and all in one piece")
def _():
    talk = IHAVEOPT + struct.pack(">II", OPT_EXTENDED, 0)
    data = info_data("")
    talk += IHAVEOPT + struct.pack(">II", OPT_GO, len(data)) + data
    talk += struct.pack(">IHHQQQ", REQUEST_EXT, PAYLOAD_LEN, WRITE, 7, 0, SECTOR) + noise(SECTOR)
    talk += struct.pack(">IHHQQQ", REQUEST_EXT, PAYLOAD_LEN, TRIM, 8, 0, 4) + b"oops"
    talk += struct.pack(">IHHQQQ", REQUEST_EXT, 0, READ, 9, 0, SECTOR)
    for pieces in [talk], [talk[at:at + 1] for at in range(len(talk))]:
        client = shaking()
        for piece in pieces:
            client.send(piece)
        client.answers(OPT_EXTENDED)
        client.answers(OPT_GO)
        client.structured = client.extended = True
        client.offsets = {7: {0}, 8: {0}, 9: {0}}
        replies = {reply.cookie: reply for reply in (client.reply() for _ in range(3))}
        equal({7: 0, 8: EINVAL, 9: 0}, {cookie: r.error for cookie, r in replies.items()})


if __name__ == "__main__":
    conformance.UNIX = sys.argv[1]
    sys.exit(1 if run_all() else 0)
