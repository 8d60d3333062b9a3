#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the NBD protocol demands of a server, one line per demand.

    conformance.py SOCKET HOST:PORT PID

SOCKET and HOST:PORT lead to the same daemon, whose process is PID. Its exports:
"" of at least 128 MiB, "second", and "big" of 8 GiB. The first 64 MiB of "" are
overwritten. Prints "ok N - text" or "not ok N - text: why"; fails on any of the
latter.
"""
import ctypes
import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
from raw_nbd import *  # noqa: F403,E402  one vocabulary, as in the protocol's text

UNIX, TCP, PID = None, None, None
ALLOCATION, ENCRYPTION = "base:allocation", "x-sealblk:encryption"
HOLE_AND_ZERO = 3
ROWS = []


def row(text):
    """A demand: the function is its check."""
    def add(check):
        ROWS.append((text, check))
        return check
    return add


def equal(wanted, got, what="value"):
    assert wanted == got, "%s: wanted %r, got %r" % (what, wanted, got)


def one_of(wanted, got, what="value"):
    assert got in wanted, "%s: wanted one of %r, got %r" % (what, wanted, got)


def shaking(**how):
    return Client(UNIX, **how)


def serving(**how):
    how.setdefault("go", "")
    return Client(UNIX, **how)


def in_sync(client):
    """The next option is understood."""
    equal(REP_ACK, client.result(OPT_LIST), "the option after it")


def still_serves(client):
    equal(0, client.do(READ, 0, SECTOR).error, "the request after it")


# ---- handshake ------------------------------------------------------------------------

@row("greeting: FIXED_NEWSTYLE and NO_ZEROES, no other flag")
def _():
    equal(FIXED_NEWSTYLE | NO_ZEROES, shaking().handshake_flags, "flags")


@row("client flags: any known combination is served")
def _():
    for flags in 0, 1, 2, 3:
        in_sync(shaking(flags=flags))


@row("client flags: an unknown one closes the connection")
def _():
    for bit in range(2, 32):
        assert shaking(flags=3 | 1 << bit).is_closed(), bit


@row("unknown option: ERR_UNSUP, and the stream stays in step")
def _():
    client = shaking()
    for number in 0, OPT_PEEK, 12, 99, 0x7fffffff, 0xffffffff:
        for data in b"", b"x", b"x" * 5000:
            equal(ERR_UNSUP, client.result(number, data), "option %d" % number)
    in_sync(client)


@row("EXTENDED_HEADERS: ACK; with data ERR_INVALID; then STRUCTURED_REPLY is ERR_EXT_HEADER_REQD")
def _():
    for first in False, True:
        client = shaking()
        equal(ERR_INVALID, client.result(OPT_EXTENDED, b"x"))
        if first:
            client.negotiate_structured()
        client.negotiate_extended()
        equal(ERR_EXT_HEADER_REQD, client.result(OPT_STRUCTURED))
        in_sync(client)
        client.go("")
        still_serves(client)


@row("wrong option magic: closed")
def _():
    client = shaking()
    client.option(OPT_LIST, magic=b"IHAVENOT")
    assert client.is_closed()


@row("ABORT: ACK, then closed; data is ignored")
def _():
    for data in b"", b"good bye":
        client = shaking()
        equal([(REP_ACK, b"")], client.ask(OPT_ABORT, data))
        assert client.is_closed()


@row("LIST: each export once, then ACK")
def _():
    replies = shaking().ask(OPT_LIST)
    equal((REP_ACK, b""), replies.pop())
    names = []
    for kind, data in replies:
        equal(REP_SERVER, kind)
        size = struct.unpack(">I", data[:4])[0]
        assert 4 + size <= len(data)
        names.append(data[4:4 + size].decode())
    equal(["", "big", "second"], sorted(names))


@row("LIST with data: ERR_INVALID")
def _():
    client = shaking()
    equal(ERR_INVALID, client.result(OPT_LIST, b"x"))
    in_sync(client)


@row("INFO and GO send INFO_EXPORT, asked for or not")
def _():
    for option in OPT_INFO, OPT_GO:
        for wanted in (), (INFO_EXPORT,), (INFO_NAME,):
            infos = shaking().infos(option, "", *wanted)
            size, flags = struct.unpack(">QH", infos[INFO_EXPORT])
            assert size >= 128 * MIB and size % SECTOR == 0 and flags & HAS_FLAGS


@row("INFO and GO tell the same")
def _():
    for structured in False, True:
        client = shaking()
        if structured:
            client.negotiate_structured()
        wanted = INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE
        equal(client.infos(OPT_INFO, "second", *wanted), client.infos(OPT_GO, "second", *wanted))


@row("INFO does not end the haggling, GO does")
def _():
    client = shaking()
    client.infos(OPT_INFO, "")
    in_sync(client)
    client.go("second")
    still_serves(client)


@row("unknown export: ERR_UNKNOWN for INFO, GO, LIST_META and SET_META")
def _():
    client = shaking()
    client.negotiate_structured()
    for name in "nobody", "Second", "second ", "s" * 4096:
        for option in OPT_INFO, OPT_GO:
            equal(ERR_UNKNOWN, client.result(option, info_data(name)))
        for option in OPT_LIST_META, OPT_SET_META:
            equal(ERR_UNKNOWN, client.result(option, meta_data(name, "base:")))
    in_sync(client)


@row("name longer than its option: ERR_INVALID, in step")
def _():
    client = shaking()
    for option in OPT_INFO, OPT_GO:
        for size in 1, 5, 0x7fffffff, 0xffffffff:
            equal(ERR_INVALID, client.result(option, struct.pack(">I", size) + b"\0\0"))
    in_sync(client)


@row("name of 4096 bytes is looked up, of 4097 refused, in step")
def _():
    client = shaking()
    for option in OPT_INFO, OPT_GO:
        equal(ERR_UNKNOWN, client.result(option, info_data(b"n" * 4096)))
        one_of((ERR_INVALID, ERR_TOO_BIG), client.result(option, info_data(b"n" * 4097)))
    in_sync(client)


@row("name with a NUL or not UTF-8: an error, in step")
def _():
    client = shaking()
    for name in b"\0", b"second\0", b"\xff\xfe":
        one_of((ERR_INVALID, ERR_UNKNOWN), client.result(OPT_GO, info_data(name)))
    in_sync(client)


@row("INFO_NAME and INFO_DESCRIPTION")
def _():
    infos = shaking().infos(OPT_INFO, "second", INFO_NAME, INFO_DESCRIPTION)
    equal(b"second", infos[INFO_NAME])
    assert infos[INFO_DESCRIPTION].startswith(b"64 MiB, "), infos[INFO_DESCRIPTION]
    listed_as = {data[4:4 + struct.unpack(">I", data[:4])[0]]: data
                 for _, data in shaking().ask(OPT_LIST)[:-1]}
    assert listed_as[b"second"].endswith(b"second" + infos[INFO_DESCRIPTION]), "LIST says otherwise"


@row("INFO_BLOCK_SIZE: 512, 4096, 32 MiB")
def _():
    infos = shaking().infos(OPT_INFO, "", INFO_BLOCK_SIZE)
    equal((512, 4096, 32 * MIB), struct.unpack(">III", infos[INFO_BLOCK_SIZE]))


@row("information of unknown type is not sent, and no error")
def _():
    infos = shaking().infos(OPT_INFO, "", 4, 99, 0xffff, INFO_NAME, INFO_NAME)
    equal({INFO_EXPORT, INFO_NAME}, set(infos))


@row("GO without INFO_BLOCK_SIZE is served")
def _():
    still_serves(serving())


@row("EXPORT_NAME: with and without the 124 zeroes")
def _():
    for flags, size in (1, 134), (3, 10):
        client = shaking(flags=flags)
        client.option(OPT_EXPORT_NAME, b"second")
        reply = client.take(size)
        assert struct.unpack(">H", reply[8:10])[0] & HAS_FLAGS
        equal(bytes(size - 10), reply[10:], "the zeroes")
        still_serves(client)


@row("EXPORT_NAME of an unknown export: closed")
def _():
    for name in b"nobody", b"n" * 4096, b"n" * 5000, b"\0":
        client = shaking()
        client.option(OPT_EXPORT_NAME, name)
        assert client.is_closed()


@row("EXPORT_NAME and GO agree on size and flags")
def _():
    client = shaking()
    client.option(OPT_EXPORT_NAME, b"")
    other = serving()
    equal((other.size, other.flags), struct.unpack(">QH", client.take(10)))


@row("no TLS here: STARTTLS gets an error, with data or without, and the haggling goes on")
def _():
    client = shaking()
    for data in b"", b"x":
        one_of((ERR_UNSUP, ERR_POLICY, ERR_INVALID), client.result(OPT_STARTTLS, data))
    in_sync(client)
    client.go("")
    still_serves(client)


@row("STRUCTURED_REPLY: ACK; with data ERR_INVALID; twice is no harm")
def _():
    client = shaking()
    equal(ERR_INVALID, client.result(OPT_STRUCTURED, b"x"))
    client.go("")
    assert client.do(READ, 0, SECTOR).simple, "structured after all"
    client = shaking()
    client.negotiate_structured()
    client.negotiate_structured()
    client.go("")
    assert not client.do(READ, 0, SECTOR).simple, "not structured"


def listed(client, *queries, name=""):
    replies = client.ask(OPT_LIST_META, meta_data(name, *queries))
    equal(REP_ACK, replies.pop()[0])
    return sorted(data[4:].decode() for _, data in replies)


@row("contexts before STRUCTURED_REPLY: ERR_INVALID")
def _():
    client = shaking()
    for option in OPT_LIST_META, OPT_SET_META:
        equal(ERR_INVALID, client.result(option, meta_data("", ALLOCATION)))
    in_sync(client)


@row("LIST_META_CONTEXT: no query means all, a namespace its own, unknown ones nothing")
def _():
    client = shaking()
    client.negotiate_structured()
    equal([ALLOCATION, ENCRYPTION], listed(client))
    equal([ALLOCATION], listed(client, "base:"))
    equal([ENCRYPTION], listed(client, "x-sealblk:"))
    equal([ALLOCATION], listed(client, ALLOCATION))
    for query in "qemu:", "base:other", "base", "", "base:allocation:", "B" * 4096:
        equal([], listed(client, query))
    equal([ALLOCATION, ENCRYPTION], listed(client, "x:y", "base:", ENCRYPTION, ALLOCATION))


@row("1000 queries in one option: each context once; a longer option is refused, in step")
def _():
    client = shaking()
    client.negotiate_structured()
    many = ["q:%d" % number for number in range(1000)]
    equal([ALLOCATION, ENCRYPTION], listed(client, *many, "base:", ENCRYPTION, ALLOCATION))
    client.select("", *many, ALLOCATION, ALLOCATION)
    equal({ALLOCATION}, set(client.contexts))
    for option in OPT_LIST_META, OPT_SET_META:
        equal(ERR_TOO_BIG, client.result(option, meta_data("", *many, *many)))
    in_sync(client)


@row("contexts of our own are in the x- namespace")
def _():
    client = shaking()
    client.negotiate_structured()
    for name in listed(client):
        assert name.startswith(("base:", "x-")), name


@row("LIST_META_CONTEXT selects nothing")
def _():
    client = shaking()
    client.negotiate_structured()
    listed(client)
    client.go("")
    equal(EINVAL, client.do(STATUS, 0, SECTOR).error)


@row("SET_META_CONTEXT: selects what it names, with ids of its own; wildcards nothing")
def _():
    client = shaking()
    client.negotiate_structured()
    client.select("", "base:", "x-sealblk:", "qemu:dirty-bitmap:b")
    equal({}, client.contexts)
    client.select("", ALLOCATION, ENCRYPTION)
    equal({ALLOCATION, ENCRYPTION}, set(client.contexts))
    equal(2, len(set(client.contexts.values())), "different ids")


@row("SET_META_CONTEXT: a second one replaces the first, also when it fails")
def _():
    client = shaking()
    client.negotiate_structured()
    client.select("", ALLOCATION)
    client.select("", ENCRYPTION)
    client.go("")
    equal({ENCRYPTION}, set(client.status(0, MIB)))
    for data in meta_data("", ALLOCATION) + b"x", meta_data("nobody", ALLOCATION), b"":
        client = shaking()
        client.negotiate_structured()
        client.select("", ALLOCATION)
        assert client.result(OPT_SET_META, data) >= ERR_UNSUP
        client.go("")
        equal(EINVAL, client.do(STATUS, 0, SECTOR).error)


@row("contexts selected for another export are void")
def _():
    client = shaking()
    client.negotiate_structured()
    client.select("second", ALLOCATION)
    client.go("")
    equal(EINVAL, client.do(STATUS, 0, SECTOR).error)


@row("malformed options, cut or lengthened at every byte: ERR_INVALID, in step")
def _():
    talks = [(option, info_data("second", INFO_NAME, INFO_BLOCK_SIZE))
             for option in (OPT_INFO, OPT_GO)]
    talks += [(option, meta_data("second", ALLOCATION, ENCRYPTION))
              for option in (OPT_LIST_META, OPT_SET_META)]
    for option, data in talks:
        for wrong in [data[:size] for size in range(len(data))] + [data + b"\0"]:
            client = shaking()
            client.negotiate_structured()
            equal(ERR_INVALID, client.result(option, wrong), "option %d cut at %d of %d"
                  % (option, len(wrong), len(data)))
            in_sync(client)
            client.close()


@row("option longer than is kept: an error, in step")
def _():
    client = shaking()
    for option in OPT_GO, OPT_INFO, OPT_LIST, 99:
        for size in 13 * KIB, 100 * KIB:
            one_of((ERR_TOO_BIG, ERR_INVALID, ERR_UNSUP), client.result(option, bytes(size)))
    in_sync(client)


@row("option length 0x7fffffff or 0xffffffff: closed at once")
def _():
    for length in 0x7fffffff, 0xffffffff:
        client = shaking()
        client.option(OPT_GO, b"", length=length)
        assert client.is_closed()


@row("options without end: closed")
def _():
    client = shaking()
    try:
        for _ in range(10000):
            client.ask(OPT_LIST)
        raise AssertionError("10000 options were answered")
    except Closed:
        pass


@row("options one byte at a time, and all in one piece with the first requests")
def _():
    talk = IHAVEOPT + struct.pack(">II", OPT_STRUCTURED, 0)
    data = info_data("second", INFO_BLOCK_SIZE)
    talk += IHAVEOPT + struct.pack(">II", OPT_GO, len(data)) + data
    talk += struct.pack(">IHHQQI", REQUEST, 0, READ, 7, 0, SECTOR)
    for pieces in [talk], [talk[at:at + 1] for at in range(len(talk))]:
        client = shaking()
        for piece in pieces:
            client.send(piece)
        equal(REP_ACK, client.answers(OPT_STRUCTURED)[-1][0])
        equal(REP_ACK, client.answers(OPT_GO)[-1][0])
        client.structured = True
        equal((7, 0), (lambda r: (r.cookie, r.error))(client.reply()))


@row("a request before GO: closed")
def _():
    client = shaking()
    client.request(READ, 0, SECTOR)
    assert client.is_closed()


# ---- transmission flags -----------------------------------------------------------------

OFFERED = (HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_TRIM | SEND_WRITE_ZEROES | CAN_MULTI_CONN
           | SEND_CACHE | SEND_FAST_ZERO)


@row("transmission flags: what we do, SEND_DF only with structured replies")
def _():
    equal(OFFERED, serving().flags, "without")
    equal(OFFERED | SEND_DF, serving(structured=True).flags, "with")


# ---- commands -----------------------------------------------------------------------------

def each_kind():
    """A client with simple replies, and two with contexts: structured and extended replies."""
    yield serving()
    yield serving(contexts=(ALLOCATION, ENCRYPTION))
    yield serving(contexts=(ALLOCATION, ENCRYPTION), extended=True)


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


@row("WRITE, then READ: the same bytes; structured and not")
def _():
    for client in each_kind():
        for size in SECTOR, 4 * KIB, 3 * SECTOR, MIB:
            data = noise(size, size)
            equal(0, client.do(WRITE, 7 * SECTOR, size, payload=data).error)
            assert client.read(7 * SECTOR, size) == data, size


@row("FUA is accepted with every command")
def _():
    client = serving(contexts=(ALLOCATION,))
    for command in READ, WRITE, FLUSH, TRIM, CACHE, ZEROES, STATUS:
        length = 0 if command == FLUSH else SECTOR
        equal(0, client.do(command, 0, length, FUA).error, "command %d" % command)


@row("FLUSH")
def _():
    for client in each_kind():
        client.do(WRITE, 0, SECTOR)
        equal(0, client.do(FLUSH).error)


@row("FLUSH with offset or length: EINVAL")
def _():
    client = serving()
    equal(EINVAL, client.do(FLUSH, SECTOR).error)
    equal(EINVAL, client.do(FLUSH, 0, SECTOR).error)


@row("CAN_MULTI_CONN: what one connection has flushed or written with FUA, all read")
def _():
    clients = [serving() for _ in range(4)]
    for number, client in enumerate(clients * 4):
        data = noise(64 * KIB, number)
        if number % 2:
            client.do(WRITE, MIB, len(data), FUA, payload=data)
        else:
            client.do(WRITE, MIB, len(data), payload=data)
            client.do(FLUSH)
        for other in clients:
            assert other.read(MIB, len(data)) == data


@row("TRIM: reads as zeros, is a hole; WRITE_ZEROES likewise")
def _():
    client = serving(contexts=(ALLOCATION, ENCRYPTION))
    for command in TRIM, ZEROES:
        client.do(WRITE, 4 * MIB, MIB, payload=noise(MIB))
        equal([(MIB, 0)], client.status(4 * MIB, MIB)[ALLOCATION], "before")
        equal(0, client.do(command, 4 * MIB, MIB).error)
        equal(bytes(MIB), client.read(4 * MIB, MIB))
        equal({ALLOCATION: [(MIB, HOLE_AND_ZERO)], ENCRYPTION: [(MIB, 1)]},
              client.status(4 * MIB, MIB))


@row("WRITE_ZEROES with NO_HOLE: zeros, and no hole")
def _():
    client = serving(contexts=(ALLOCATION, ENCRYPTION))
    client.do(TRIM, 4 * MIB, 4 * MIB)
    equal(0, client.do(ZEROES, 4 * MIB, 3 * MIB, NO_HOLE).error)
    equal(bytes(3 * MIB), client.read(4 * MIB, 3 * MIB))
    for size, state in client.status(4 * MIB, 3 * MIB)[ALLOCATION]:
        assert not state & 1, "a hole of %d bytes" % size
    equal([(3 * MIB, 3)], client.status(4 * MIB, 3 * MIB)[ENCRYPTION])


@row("WRITE_ZEROES with FAST_ZERO: done; with NO_HOLE as well ENOTSUP, and nothing changes")
def _():
    client = serving()
    client.do(WRITE, 4 * MIB, MIB, payload=noise(MIB))
    equal(ENOTSUP, client.do(ZEROES, 4 * MIB, MIB, FAST_ZERO | NO_HOLE).error)
    assert client.read(4 * MIB, MIB) == noise(MIB)
    equal(0, client.do(ZEROES, 4 * MIB, MIB, FAST_ZERO).error)
    equal(bytes(MIB), client.read(4 * MIB, MIB))


@row("CACHE")
def _():
    for client in each_kind():
        equal(0, client.do(CACHE, 0, 64 * MIB).error)
        equal(0, client.do(CACHE, client.size - SECTOR, SECTOR).error)


@row("READ with DF: one chunk, up to 32 MiB")
def _():
    client = serving(structured=True)
    client.do(ZEROES, 0, 32 * MIB)
    for at in range(0, 32 * MIB, 8 * MIB):
        client.do(WRITE, at, 64 * KIB, payload=noise(64 * KIB))
    for size in SECTOR, 64 * KIB, 128 * KIB, 32 * MIB:
        reply = client.do(READ, 0, size, DF)
        equal([CHUNK_DATA], [kind for kind, _ in reply.chunks], "chunks")
        assert assemble(reply, 0, size)[:64 * KIB] == noise(64 * KIB)[:size]


@row("READ with DF of more than 32 MiB: EOVERFLOW, and without; the connection survives")
def _():
    client = serving(structured=True)
    for flags in DF, 0:
        for length in 32 * MIB + SECTOR, 64 * MIB, 0xfffffe00:
            wanted = EOVERFLOW if length <= client.size else EINVAL
            equal(wanted, client.do(READ, 0, length, flags).error)
    still_serves(client)


@row("DF without structured replies: EINVAL")
def _():
    equal(EINVAL, serving().do(READ, 0, SECTOR, DF).error)


@row("structured READ: data and holes cover the range once; holes are where zeros are")
def _():
    client = serving(structured=True)
    client.do(ZEROES, 0, 8 * MIB)
    for at in range(0, 8 * MIB, 2 * MIB):
        client.do(WRITE, at, MIB, payload=noise(MIB, at))
    reply = client.do(READ, 0, 8 * MIB)
    equal({CHUNK_DATA, CHUNK_HOLE}, {kind for kind, _ in reply.chunks})
    wanted = b"".join(noise(MIB, at) + bytes(MIB) for at in range(0, 8 * MIB, 2 * MIB))
    assert assemble(reply, 0, 8 * MIB) == wanted


@row("structured READ, scattered: still the right bytes")
def _():
    client = serving(structured=True)
    client.do(ZEROES, 0, MIB)
    wanted = bytearray(MIB)
    for sector in range(0, 2048, 3):
        wanted[sector * SECTOR:(sector + 1) * SECTOR] = noise(SECTOR, sector)
        client.do(WRITE, sector * SECTOR, SECTOR, payload=noise(SECTOR, sector))
    for offset, length in (0, MIB), (SECTOR, 64 * KIB), (5 * SECTOR, MIB // 2):
        assert client.read(offset, length) == wanted[offset:offset + length]


@row("errors: a chunk for a READ with structured replies, else a simple reply")
def _():
    client = serving(structured=True)
    reply = client.do(READ, client.size, SECTOR)
    assert not reply.simple and reply.chunks[-1][0] in (CHUNK_ERROR, CHUNK_ERROR_OFFSET)
    equal(EINVAL, reply.error)
    client = serving()
    reply = client.do(READ, client.size, SECTOR)
    assert reply.simple
    equal(EINVAL, reply.error)


@row("BLOCK_STATUS without a context: EINVAL; with simple replies too")
def _():
    equal(EINVAL, serving().do(STATUS, 0, SECTOR).error)
    equal(EINVAL, serving(structured=True).do(STATUS, 0, SECTOR).error)


@row("BLOCK_STATUS: each context once, extents within the range, and true")
def _():
    client = serving(contexts=(ALLOCATION, ENCRYPTION))
    client.do(ZEROES, 0, 4 * MIB)
    client.do(WRITE, MIB, MIB, payload=noise(MIB))
    status = client.status(SECTOR, 4 * MIB - 2 * SECTOR)
    equal([(MIB - SECTOR, HOLE_AND_ZERO), (MIB, 0), (2 * MIB - SECTOR, HOLE_AND_ZERO)],
          status[ALLOCATION])
    equal([(MIB - SECTOR, 1), (MIB, 3), (2 * MIB - SECTOR, 1)], status[ENCRYPTION])


@row("BLOCK_STATUS: neighbours differ, and no extent is empty")
def _():
    client = serving(contexts=(ALLOCATION, ENCRYPTION))
    for extents in client.status(0, client.size).values():
        assert all(size > 0 and size % SECTOR == 0 for size, _ in extents)
        assert all(a[1] != b[1] for a, b in zip(extents, extents[1:]))
        assert sum(size for size, _ in extents) <= client.size


@row("BLOCK_STATUS with REQ_ONE: one extent for each context, no longer than asked")
def _():
    client = serving(contexts=(ALLOCATION, ENCRYPTION))
    for length in SECTOR, MIB, 64 * MIB:
        for extents in client.status(0, length, REQ_ONE).values():
            assert len(extents) == 1 and 0 < extents[0][0] <= length


@row("BLOCK_STATUS of 0xfffffe00 bytes, the longest there is; and past the end of a short disk")
def _():
    client = serving(go="big", contexts=(ALLOCATION, ENCRYPTION))
    for offset in 0, SECTOR, 4 << 30:
        for extents in client.status(offset, 0xfffffe00).values():
            assert 0 < sum(size for size, _ in extents) <= 0xfffffe00
    equal(EINVAL, serving(contexts=(ALLOCATION,)).do(STATUS, 0, 0xfffffe00).error)


@row("BLOCK_STATUS walked from end to end meets its end")
def _():
    client = serving(go="big", contexts=(ALLOCATION,))
    at = turns = 0
    while at < client.size and turns < 1000:
        at += sum(size for size, _ in
                  client.status(at, min(client.size - at, 0xfffffe00))[ALLOCATION])
        turns += 1
    equal(client.size, at)


@row("length 0: no disconnect; BLOCK_STATUS of nothing is EINVAL")
def _():
    for client in each_kind():
        for command in READ, WRITE, TRIM, CACHE, ZEROES, STATUS:
            for offset in 0, client.size:
                one_of((0, EINVAL, ENOSPC), client.do(command, offset, 0).error)
        equal(EINVAL, client.do(STATUS, 0, 0).error)
        still_serves(client)


@row("unaligned: EINVAL")
def _():
    for client in each_kind():
        for command in READ, WRITE, TRIM, CACHE, ZEROES, STATUS:
            for offset, length in (1, SECTOR), (0, 1), (0, 511), (256, 256), (SECTOR, 513):
                equal(EINVAL, client.do(command, offset, length).error, "command %d" % command)
        still_serves(client)


@row("past the end: READ, TRIM, CACHE, BLOCK_STATUS EINVAL; WRITE, WRITE_ZEROES ENOSPC")
def _():
    for client in each_kind():
        ends = ((client.size, SECTOR), (client.size - SECTOR, 2 * SECTOR),
                ((1 << 64) - SECTOR, SECTOR), ((1 << 64) - SECTOR, 2 * SECTOR),
                (1 << 63, SECTOR), (client.size - 16 * MIB, 32 * MIB))
        for command in READ, WRITE, TRIM, CACHE, ZEROES, STATUS:
            if command == STATUS and not client.contexts:
                continue
            wanted = ENOSPC if command in (WRITE, ZEROES) else EINVAL
            for offset, length in ends:
                equal(wanted, client.do(command, offset, length).error,
                      "command %d at %#x" % (command, offset))
        still_serves(client)


@row("the last sector: everything works")
def _():
    for client in each_kind():
        at = client.size - SECTOR
        for command in WRITE, READ, CACHE, TRIM, ZEROES:
            equal(0, client.do(command, at, SECTOR).error, "command %d" % command)
        equal(bytes(SECTOR), client.read(at, SECTOR))


@row("unknown command or flag: EINVAL, and the connection survives")
def _():
    for client in each_kind():
        for command in 8, 9, 255, 0xffff:
            equal(EINVAL, client.do(command, 0, SECTOR).error)
        allowed = {READ: DF, WRITE: 0, FLUSH: 0, TRIM: 0, CACHE: 0,
                   ZEROES: NO_HOLE | FAST_ZERO, STATUS: REQ_ONE}
        for command, flags in allowed.items():
            for bit in range(1, 16):
                if 1 << bit & (flags | (PAYLOAD_LEN if client.extended else 0)):
                    continue
                length = 0 if command == FLUSH else SECTOR
                equal(EINVAL, client.do(command, 0, length, 1 << bit).error,
                      "command %d with flag %#x" % (command, 1 << bit))
        still_serves(client)


@row("READ and WRITE of 32 MiB")
def _():
    for client in each_kind():
        data = noise(32 * MIB)
        equal(0, client.do(WRITE, 16 * MIB, 32 * MIB, payload=data).error)
        assert client.read(16 * MIB, 32 * MIB) == data


@row("READ of more than 32 MiB with simple replies: EINVAL; WRITE: EINVAL and in step, or closed")
def _():
    client = serving()
    for length in 32 * MIB + SECTOR, 64 * MIB, 0xfffffe00:
        equal(EINVAL, client.do(READ, 0, length).error)
    for length in 32 * MIB + SECTOR, 33 * MIB, 64 * MIB, 65 * MIB:
        try:
            client = serving()
            equal(EINVAL, client.do(WRITE, 0, length).error)
            still_serves(client)
        except Closed:
            assert length > 33 * MIB, "closed, though little more than allowed"


@row("TRIM, WRITE_ZEROES, CACHE, BLOCK_STATUS may be longer than a payload")
def _():
    client = serving(go="big", contexts=(ALLOCATION,))
    for command in TRIM, ZEROES, CACHE, STATUS:
        for length in 33 * MIB, 1 << 30, 0xfffffe00:
            equal(0, client.do(command, SECTOR, length).error, "command %d" % command)


@row("DISC: no reply; what is in flight is finished first")
def _():
    client = serving()
    for number in range(16):
        client.request(WRITE, number * MIB, 64 * KIB, cookie=number,
                       payload=noise(64 * KIB, number))
    client.request(DISC, cookie=99)
    equal(set(range(16)), {client.reply().cookie for _ in range(16)})
    assert client.is_closed()
    other = serving()
    for number in range(16):
        assert other.read(number * MIB, 64 * KIB) == noise(64 * KIB, number)


@row("DISC with unknown flags, offset and length: closed all the same")
def _():
    client = serving()
    client.request(DISC, 1, 1, 0xffff)
    assert client.is_closed()


@row("wrong request magic: closed")
def _():
    for magic in 0, REQUEST + 1, SIMPLE, STRUCTURED, 0x21e41c71:
        client = serving()
        client.request(READ, 0, SECTOR, magic=magic)
        assert client.is_closed()


@row("cookies are opaque: any 64 bits, the same one twice in flight")
def _():
    client = serving()
    cookies = [0, 1, 1 << 63, (1 << 64) - 1, 0x6744669800000000] * 10
    for cookie in cookies:
        client.request(READ, 0, SECTOR, cookie=cookie)
    equal(sorted(cookies), sorted(client.reply(SECTOR).cookie for _ in cookies))


@row("1000 requests, 100 of them in flight: one reply for each, in any order")
def _():
    client = serving()
    cookies = []
    for cookie in range(1000):
        client.request(WRITE, cookie * SECTOR, SECTOR, cookie=cookie)
        if cookie >= 100:
            cookies.append(client.reply().cookie)
    cookies += [client.reply().cookie for _ in range(100)]
    equal(list(range(1000)), sorted(cookies))


@row("errors are of the protocol's list; EOVERFLOW and ENOTSUP where they may be")
def _():
    client = serving(contexts=(ALLOCATION,))
    rng = random.Random(1)
    for _ in range(2000):
        command = rng.choice((READ, WRITE, FLUSH, TRIM, CACHE, ZEROES, STATUS, 8, 77))
        flags = rng.choice((0, 0, 1, 2, 4, 8, 16, 18, 31, 0x8000))
        offset = rng.choice((0, SECTOR, 100, client.size, 1 << 63, (1 << 64) - SECTOR))
        length = rng.choice((0, 1, SECTOR, 64 * KIB))
        error = client.do(command, offset, length, flags).error
        one_of((0, EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP), error)
        assert error != EOVERFLOW or command == READ
        assert error != ENOTSUP or (command == ZEROES and flags & FAST_ZERO)
        assert error != EIO, "command %d, flags %d" % (command, flags)


# ---- sockets ------------------------------------------------------------------------------

def sockets_of_daemon():
    """Duplicates of the daemon's sockets, where we are allowed to make them."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(PID)
    found = []
    for name in os.listdir("/proc/%d/fd" % PID):
        if not os.readlink("/proc/%d/fd/%s" % (PID, name)).startswith("socket:"):
            continue
        fd = libc.syscall(438, pidfd, int(name), 0)  # pidfd_getfd
        if fd < 0:
            raise PermissionError("pidfd_getfd: errno %d" % ctypes.get_errno())
        found.append(socket.socket(fileno=fd))
    os.close(pidfd)
    return found


@row("TCP: the same service, with TCP_NODELAY")
def _():
    client = Client(TCP, go="", structured=True)
    client.do(WRITE, 0, MIB, payload=noise(MIB))
    assert client.read(0, MIB) == noise(MIB)
    try:
        sockets = sockets_of_daemon()
    except OSError as error:
        print("# TCP_NODELAY cannot be seen here: %s" % error)
        return
    name = client.socket.getsockname()
    ours = [s for s in sockets if s.family == socket.AF_INET and is_connected_to(s, name)]
    equal(1, len(ours), "connections")
    assert ours[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), "not set"


def is_connected_to(one, name):
    try:
        return one.getpeername() == name
    except OSError:
        return False


# ---- clients that vanish --------------------------------------------------------------------

def conversation():
    """All that a client sends which does a bit of everything."""
    client = serving(contexts=(ALLOCATION, ENCRYPTION))
    for command, offset, length, flags in (
            (WRITE, 0, SECTOR, 0), (READ, 0, 64 * KIB, 0), (STATUS, 0, MIB, 0),
            (WRITE, SECTOR, SECTOR, FUA), (TRIM, MIB, MIB, 0), (ZEROES, MIB, SECTOR, NO_HOLE),
            (CACHE, 0, MIB, 0), (READ, 0, SECTOR, DF), (FLUSH, 0, 0, 0), (9, 0, SECTOR, 0)):
        client.do(command, offset, length, flags)
    client.request(DISC)
    return b"".join(client.sent)


def vanish_at(address, talk, size, abruptly):
    client = Client(address, flags=None)
    try:
        client.send(talk[:size])
        if abruptly:  # a TCP reset
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            client.socket.shutdown(socket.SHUT_WR)
    except (Closed, OSError):
        pass
    client.close()


def descriptors():
    """How many the daemon has; None where it is not ours to see: it may not be dumped."""
    try:
        return len(os.listdir("/proc/%d/fd" % PID))
    except PermissionError:
        return None


def memory_kib():
    with open("/proc/%d/status" % PID) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def is_served(clients):
    """One more of them, which stays connected."""
    try:
        clients.append(serving())
    except (Closed, ConnectionError):
        return False
    return True


def vanish_everywhere(address, talk, abruptly):
    # A place comes free a moment after its client has left.
    for size in range(len(talk) + 1):
        for attempt in range(200):
            try:
                vanish_at(address, talk, size, abruptly)
                break
            except Closed:
                assert attempt < 199, "refused"
                time.sleep(0.02)


@row("a client that vanishes at any byte: the daemon serves on, and keeps nothing of it")
def _():
    talk = conversation()
    assert wait_until(lambda: descriptors() == IDLE_DESCRIPTORS), descriptors()
    vanish_everywhere(UNIX, talk, False)
    wait_until(lambda: descriptors() == IDLE_DESCRIPTORS)
    before = memory_kib()
    for address, abruptly in (TCP, True), (TCP, False), (UNIX, False):
        vanish_everywhere(address, talk, abruptly)
        assert wait_until(lambda: descriptors() == IDLE_DESCRIPTORS), \
            "%d descriptors, %d before" % (descriptors(), IDLE_DESCRIPTORS)
    grown = memory_kib() - before
    assert grown < 4096, "memory grew by %d KiB" % grown
    still_serves(serving())


def run_all():
    failed = 0
    for number, (text, check) in enumerate(ROWS, 1):
        try:
            check()
            print("ok %d - %s" % (number, text), flush=True)
        except (AssertionError, Closed, OSError, KeyError, struct.error) as error:
            failed += 1
            print("not ok %d - %s: %s: %s" % (number, text, type(error).__name__, error),
                  flush=True)
    print("1..%d" % len(ROWS))
    return failed


if __name__ == "__main__":
    UNIX = sys.argv[1]
    host, port = sys.argv[2].rsplit(":", 1)
    TCP = (host, int(port))
    PID = int(sys.argv[3])
    IDLE_DESCRIPTORS = descriptors()
    sys.exit(1 if run_all() else 0)
