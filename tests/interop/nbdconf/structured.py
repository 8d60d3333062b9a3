# SPDX-License-Identifier: MIT
"""Rows: the chunks of structured replies, and of extended ones, which have the same rules."""
import struct

from .check import *  # noqa: F403
from .rows import Lacking, NotApplicable, may, must, should
from .transmission import COMMANDS, offered

ERROR_BIT = 1 << 15
CONTENT = CHUNK_DATA, CHUNK_HOLE


def clients(server):
    """One for each kind of reply with chunks."""
    found = [server.serve(**kind) for kind in server.kind_names()[1:]]
    if not found:
        raise Lacking("no structured replies")
    return found


def chunks(client, command, offset, length, flags=0):
    """The chunks of one reply as they come: (flags, type, payload)."""
    client.request(command, offset, length, flags, cookie=3)
    found = []
    while not found or not found[-1][0] & CHUNK_DONE:
        cookie, reply_flags, kind, payload = client.chunk()
        equal(3, cookie, "cookie")
        assert kind is not None, "a simple reply"
        found.append((reply_flags, kind, payload))
    return found


def filled(server, client):
    """Half of 128 units is noise, half is zeroes, in turns of 16; returns offset and length."""
    if not server.flags & READ_ONLY:
        for at in range(0, 128, 16):
            data = bytes(16 * server.unit) if at % 32 else noise(16 * server.unit, at)
            succeeds(client.do(WRITE, at * server.unit, len(data), payload=data), "WRITE")
    return 0, 128 * server.unit


def read_chunks(server, flags=0):
    """All chunks of READs, with their requests: (offset, length, chunks)."""
    for client in clients(server):
        offset, length = filled(server, client)
        for at, size in ((offset, length), (offset, server.unit),
                         (offset + 8 * server.unit, length)):
            yield at, size, chunks(client, READ, at, size, flags)


def content(found):
    """(offset, length) of the content chunks."""
    for _, kind, payload in found:
        if kind in CONTENT:
            at = struct.unpack(">Q", payload[:8])[0]
            yield at, (len(payload) - 8 if kind == CHUNK_DATA
                       else struct.unpack(">I", payload[8:])[0])


# ---- what a READ gets ----------------------------------------------------------------


@must("Structured reply chunk message")
def chunks_for_read(server):
    """READ gets chunks and no simple reply, also when it fails at once."""
    for client in clients(server):
        chunks(client, READ, 0, server.unit)
        chunks(client, READ, server.size, server.unit)


@must("Structured and extended header reply flags")
def chunks_done(server):
    """The last chunk of a reply is marked DONE, and no other is."""
    for client in clients(server):
        filled(server, client)
        chunks(client, READ, 0, 128 * server.unit)
        quiet(server, client)
        still_serves(server, client)


@must("Structured and extended header reply flags")
def chunks_flags(server):
    """Chunks have no flags but DONE."""
    for _, _, found in read_chunks(server):
        for flags, _, _ in found:
            equal(0, flags & ~CHUNK_DONE, "flags")


@must("Structured reply types")
def chunks_kinds(server):
    """Chunks for READ are NONE, OFFSET_DATA, OFFSET_HOLE or errors."""
    seen = set()
    for _, _, found in read_chunks(server):
        seen |= {kind for _, kind, _ in found}
    assert all(kind in (CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE) or kind & ERROR_BIT
               for kind in seen), seen
    return ", ".join(name for number, name in ((CHUNK_DATA, "data"), (CHUNK_HOLE, "holes"),
                                               (CHUNK_NONE, "none")) if number in seen)


@must("NBD_REPLY_TYPE_NONE")
def chunks_none(server):
    """NONE has no payload, and is the last."""
    for _, _, found in read_chunks(server):
        for flags, kind, payload in found:
            assert kind != CHUNK_NONE or (flags & CHUNK_DONE and not payload), "%r" % payload


@must("NBD_REPLY_TYPE_OFFSET_DATA")
def chunks_data(server):
    """OFFSET_DATA has an offset and at least one byte."""
    for _, _, found in read_chunks(server):
        for _, kind, payload in found:
            assert kind != CHUNK_DATA or len(payload) >= 9, "%d bytes" % len(payload)


@must("NBD_REPLY_TYPE_OFFSET_HOLE")
def chunks_hole(server):
    """OFFSET_HOLE has 12 bytes, and its hole is not empty."""
    seen = False
    for _, _, found in read_chunks(server):
        for _, kind, payload in found:
            if kind == CHUNK_HOLE:
                seen = True
                assert len(payload) == 12 and payload[8:] != bytes(4), "%r" % payload
    if not seen:
        raise NotApplicable("no OFFSET_HOLE has come")


@must("NBD_CMD_READ")
def chunks_within(server):
    """Content lies within what was asked for."""
    for offset, length, found in read_chunks(server):
        for at, size in content(found):
            assert offset <= at and at + size <= offset + length, "%d bytes at %d" % (size, at)


@must("NBD_CMD_READ")
def chunks_apart(server):
    """Content chunks do not overlap."""
    for _, _, found in read_chunks(server):
        pieces = sorted(content(found))
        for (at, size), (following, _) in zip(pieces, pieces[1:]):
            assert at + size <= following, "at %d" % following


@must("NBD_CMD_READ")
def chunks_complete(server):
    """Content covers all that was asked for."""
    for _, length, found in read_chunks(server):
        equal(length, sum(size for _, size in content(found)), "bytes")


@should("NBD_CMD_READ")
def chunks_aligned(server):
    """Content chunks are of multiples of 512 bytes, where the request is."""
    for _, _, found in read_chunks(server):
        for at, size in content(found):
            assert (at | size) % SECTOR == 0, "%d bytes at %d" % (size, at)


@should("Structured reply chunk message")
def chunks_few(server):
    """There are no more chunks than it takes: data without a hole comes in one, and the end."""
    server.needs_writes()
    for client in clients(server):
        succeeds(client.do(WRITE, 0, 64 * KIB, payload=noise(64 * KIB)), "WRITE")
        found = chunks(client, READ, 0, 64 * KIB)
        assert len(found) <= 2, "%d chunks for 64 KiB" % len(found)


@must("NBD_CMD_READ")
def chunks_content(server):
    """Chunks put together are what a simple reply has."""
    for client in clients(server):
        _, length = filled(server, client)
        assert client.read(0, length) == server.serve().read(0, length), "other data"


@must("Structured reply types")
def chunks_payload(server):
    """No chunk has more than the largest payload, and what goes with the type."""
    length = min(server.size, 32 * MIB) // server.unit * server.unit
    for client in clients(server)[:1]:
        for _, _, payload in chunks(client, READ, 0, length):
            assert len(payload) <= server.max_payload + 8, "%d bytes" % len(payload)


@may("NBD_CMD_READ")
def chunks_too_long(server):
    """A READ that is longer than the largest payload gets its data, or EOVERFLOW or EINVAL."""
    length = (server.max_payload // server.unit + 1) * server.unit
    if length > server.size or length > 1 << 30:
        raise NotApplicable("the export is not so large")
    for client in clients(server):
        seen = fails_with(client.do(READ, 0, length), 0, EOVERFLOW, EINVAL)
        still_serves(server, client)
    return seen


# ---- DF ------------------------------------------------------------------------------


def unfragmented(server, length):
    for client in clients(server):
        if not client.flags & SEND_DF:
            raise Lacking("SEND_DF is not set")
        filled(server, client)
        found = chunks(client, READ, 0, length, DF)
        yield found, [(kind, payload) for _, kind, payload in found if kind in CONTENT]


@must("NBD_CMD_READ")
def df_64k(server):
    """READ with DF of 64 KiB succeeds."""
    for _, pieces in unfragmented(server, 64 * KIB):
        equal(1, len(pieces), "content chunks")


@must("NBD_CMD_READ")
def df_one_chunk(server):
    """READ with DF gets at most one content chunk."""
    length = min(server.size, MIB)
    for _, pieces in unfragmented(server, length):
        assert len(pieces) <= 1, "%d content chunks" % len(pieces)


@must("NBD_CMD_READ")
def df_mixed(server):
    """READ with DF of data and holes gets OFFSET_DATA, with the zeroes in it."""
    server.needs_writes()
    for _, pieces in unfragmented(server, 128 * server.unit):
        for kind, payload in pieces:
            equal(CHUNK_DATA, kind, "chunk type")
            equal(128 * server.unit, len(payload) - 8, "bytes")


@must("NBD_CMD_READ")
def df_too_long(server):
    """READ with DF of 4 MiB gets EOVERFLOW and no content, or all of it."""
    length = min(server.size, server.max_payload, 4 * MIB) // server.unit * server.unit
    for found, pieces in unfragmented(server, length):
        errors = [payload for _, kind, payload in found if kind & ERROR_BIT]
        if errors:
            equal(EOVERFLOW, struct.unpack(">I", errors[0][:4])[0], "error")
            assert not pieces, "content besides"
        seen = "EOVERFLOW" if errors else "%d bytes" % length
    return seen


# ---- errors --------------------------------------------------------------------------


def error_chunks(server):
    """The error chunks of requests that fail: (command, offset, length, type, payload)."""
    for client in clients(server):
        for command in offered(server, client, READ, WRITE, TRIM, ZEROES, CACHE):
            offset = server.size // server.unit * server.unit
            reply = client.do(command, offset, server.unit)
            for kind, payload in reply.chunks:
                if kind & ERROR_BIT:
                    yield command, offset, server.unit, kind, payload


@must("NBD_CMD_READ")
def error_chunk(server):
    """A READ that fails has an error chunk."""
    for client in clients(server):
        found = chunks(client, READ, server.size, server.unit)
        assert any(kind & ERROR_BIT for _, kind, _ in found), "none"


@must("NBD_REPLY_TYPE_ERROR")
def error_chunk_length(server):
    """An error chunk has at least 6 bytes, and ERROR_OFFSET 14."""
    for _, _, _, kind, payload in error_chunks(server):
        assert len(payload) >= (14 if kind == CHUNK_ERROR_OFFSET else 6), "%d bytes" % len(payload)


@must("NBD_REPLY_TYPE_ERROR")
def error_chunk_nonzero(server):
    """The error in an error chunk is not 0."""
    for _, _, _, _, payload in error_chunks(server):
        assert payload[:4] != bytes(4), "success"


def error_texts(server):
    for _, _, _, kind, payload in error_chunks(server):
        size = struct.unpack(">H", payload[4:6])[0]
        rest = 14 if kind == CHUNK_ERROR_OFFSET else 6
        assert size <= len(payload) - rest, "a message of %d bytes in %d" % (size, len(payload))
        yield payload[6:6 + size]


@must("NBD_REPLY_TYPE_ERROR")
def error_chunk_text_fits(server):
    """The message of an error chunk is no longer than the chunk."""
    for _ in error_texts(server):
        pass


@must("NBD_REPLY_TYPE_ERROR")
def error_chunk_text(server):
    """The message of an error chunk is a string: UTF-8, no NUL, 4096 bytes at most."""
    texts = {is_string(text) for text in error_texts(server)}
    return ", ".join(sorted(texts - {""})) or "no message"


@should("NBD_REPLY_TYPE_ERROR")
def error_chunk_once(server):
    """There is one ERROR chunk in a reply at most."""
    for client in clients(server):
        found = chunks(client, READ, server.size, server.unit)
        assert sum(kind == CHUNK_ERROR for _, kind, _ in found) <= 1, "several"


@must("NBD_REPLY_TYPE_ERROR_OFFSET")
def error_chunk_offset(server):
    """The offset of an error lies within the request."""
    seen = False
    for _, offset, length, kind, payload in error_chunks(server):
        if kind == CHUNK_ERROR_OFFSET:
            seen = True
            at = struct.unpack(">Q", payload[-8:])[0]
            assert offset <= at < offset + length, "offset %d" % at
    if not seen:
        raise NotApplicable("no ERROR_OFFSET has come")


@should("Structured reply chunk message")
def error_chunk_preferred(server):
    """Errors of other commands come as chunks as well, since those can say why."""
    for client in clients(server):
        for command in offered(server, client, WRITE, TRIM, ZEROES):
            reply = client.do(command, server.size // server.unit * server.unit, server.unit)
            assert not reply.simple, "%s: a simple reply" % COMMANDS[command]


@must("Structured reply chunk message")
def chunks_of_others(server):
    """A reply without data may be simple or not, but has no content chunk."""
    for client in clients(server):
        for command in offered(server, client, WRITE, FLUSH, TRIM, ZEROES):
            length = 0 if command == FLUSH else server.unit
            reply = client.do(command, 0, length)
            succeeds(reply, COMMANDS[command])
            assert all(kind == CHUNK_NONE for kind, _ in reply.chunks), COMMANDS[command]
            seen = "simple" if reply.simple else "chunks"
    return seen
