# SPDX-License-Identifier: MIT
"""Rows: BLOCK_STATUS, with structured replies and with extended ones."""
import struct

from .check import *  # noqa: F403
from .contexts import needs_allocation
from .rows import Lacking, NotApplicable, must, should
from .server import ALLOCATION
from .transmission import offered

HOLE, ZERO = 1, 2
EXTENTS_MAX = 1 << 20


def clients(server):
    """One for each kind of reply, all contexts selected."""
    server.needs_contexts()
    return [server.serve(contexts=server.contexts, **kind) for kind in server.kind_names()[1:]]


def replies(server, flags=0):
    """(client, offset, length, reply) of some requests over data, zeroes and all there is."""
    for client in clients(server):
        prepare(server, client)
        end = min(server.size, 0xffff0000) // server.unit * server.unit
        for offset, length in ((0, end), (0, server.unit), (3 * server.unit, 64 * server.unit)):
            reply = client.do(STATUS, offset, length, flags)
            succeeds(reply, "BLOCK_STATUS")
            yield client, offset, length, reply


def prepare(server, client):
    """16 units of data, 16 of zeroes, in turns, where that can be."""
    if server.flags & READ_ONLY:
        return
    for at in range(0, 128, 32):
        client.do(WRITE, at * server.unit, 16 * server.unit, payload=noise(16 * server.unit, at))
        if server.flags & SEND_WRITE_ZEROES:
            client.do(ZEROES, (at + 16) * server.unit, 16 * server.unit)


def extents_of(client, reply):
    """Lists of (length, state) by context id."""
    return {struct.unpack(">I", payload[:4])[0]: extents(client.extended, kind, payload)
            for kind, payload in reply.chunks if kind != CHUNK_NONE}


def all_extents(server, flags=0):
    """(offset, length, extents) of all requests and contexts."""
    for client, offset, length, reply in replies(server, flags):
        for found in extents_of(client, reply).values():
            yield offset, length, found


def allocation(server, client, offset, length):
    """The extents of base:allocation."""
    reply = client.do(STATUS, offset, length)
    succeeds(reply, "BLOCK_STATUS")
    return extents_of(client, reply)[client.contexts[ALLOCATION]]


# ---- the shape of replies ------------------------------------------------------------


@must("NBD_CMD_BLOCK_STATUS")
def status_chunk_for_each(server):
    """There is one chunk for each selected context."""
    for client, _, _, reply in replies(server):
        ids = [payload[:4] for kind, payload in reply.chunks if kind != CHUNK_NONE]
        equal(sorted(struct.pack(">I", number) for number in client.contexts.values()),
              sorted(ids), "ids of the chunks")


@must("Metadata querying")
def status_not_simple(server):
    """A reply to BLOCK_STATUS that succeeds is not a simple one."""
    for _, _, _, reply in replies(server):
        assert not reply.simple, "it is"


@must("NBD_REPLY_TYPE_BLOCK_STATUS")
def status_chunk_type(server):
    """With structured replies the chunks are BLOCK_STATUS: an id, and 8 bytes for each extent."""
    for client, _, _, reply in replies(server):
        for kind, payload in reply.chunks:
            if not client.extended and kind != CHUNK_NONE:
                equal(CHUNK_STATUS, kind, "chunk type")
                assert len(payload) >= 12 and len(payload) % 8 == 4, "%d bytes" % len(payload)


@must("NBD_CMD_BLOCK_STATUS")
def status_some(server):
    """There is at least one extent."""
    for _, _, found in all_extents(server):
        assert found, "none"


@must("NBD_REPLY_TYPE_BLOCK_STATUS")
def status_not_empty(server):
    """No extent is empty."""
    for _, _, found in all_extents(server):
        assert all(size for size, _ in found), "one is"


@must("NBD_REPLY_TYPE_BLOCK_STATUS")
def status_length(server):
    """All extents but the last together are shorter than the request."""
    for _, length, found in all_extents(server):
        assert sum(size for size, _ in found[:-1]) < length, "they are longer"


@must("Command flags")
def status_req_one(server):
    """With REQ_ONE there is one extent."""
    for _, _, found in all_extents(server, REQ_ONE):
        equal(1, len(found), "extents")


@must("NBD_REPLY_TYPE_BLOCK_STATUS")
def status_req_one_length(server):
    """With REQ_ONE the extent is no longer than the request."""
    for _, length, found in all_extents(server, REQ_ONE):
        assert found[0][0] <= length, "%d bytes for %d" % (found[0][0], length)


@should("NBD_REPLY_TYPE_BLOCK_STATUS")
def status_not_too_many(server):
    """There are no more than 2^20 extents in a chunk."""
    for _, _, found in all_extents(server):
        assert len(found) <= EXTENTS_MAX, "%d extents" % len(found)


@should("NBD_CMD_BLOCK_STATUS")
def status_neighbours(server):
    """Neighbours differ in state."""
    for _, _, found in all_extents(server):
        assert all(a[1] != b[1] for a, b in zip(found, found[1:])), "two are the same"


@should("NBD_CMD_BLOCK_STATUS")
def status_sectors(server):
    """Lengths are multiples of 512, where request and export are."""
    if server.size % SECTOR:
        raise NotApplicable("the export is not of such blocks")
    for _, _, found in all_extents(server):
        assert all(size % SECTOR == 0 for size, _ in found), "one is not"


@must("NBD_CMD_BLOCK_STATUS", "A MUST in the text with extended headers; the text without them "
      "says SHOULD.")
def status_blocks(server):
    """Lengths are multiples of the minimum block size."""
    for _, _, found in all_extents(server):
        assert all(size % server.min_block == 0 for size, _ in found), "one is not"


@must("NBD_CMD_BLOCK_STATUS")
def status_advances(server):
    """Who asks again where a reply ends comes to the end of the export."""
    for client in clients(server):
        at, end, turns = 0, server.size // server.unit * server.unit, 0
        while at < end and turns < 1000:
            reply = client.do(STATUS, at, min(end - at, 0xffff0000))
            succeeds(reply, "BLOCK_STATUS at %d" % at)
            at += min(sum(size for size, _ in found)
                      for found in extents_of(client, reply).values())
            turns += 1
        assert at >= end or turns == 1000, "at %d of %d" % (at, end)


# ---- what base:allocation says -------------------------------------------------------


@should("base:allocation metadata context")
def status_reserved_bits(server):
    """base:allocation sets no bits but 0 and 1."""
    needs_allocation(server)
    for client in clients(server):
        prepare(server, client)
        for _, state in allocation(server, client, 0, 128 * server.unit):
            assert state & ~(HOLE | ZERO) == 0, "state %#x" % state


@must("base:allocation metadata context")
def status_zero_is_zero(server):
    """What is said to read as zeroes does."""
    needs_allocation(server)
    for client in clients(server):
        prepare(server, client)
        at, seen = 0, 0
        for size, state in allocation(server, client, 0, 128 * server.unit):
            size = min(size, 128 * server.unit - at)
            if state & ZERO and size > 0:
                seen += size
                assert not any(client.read(at, size)), "other bytes at %d" % at
            at += size
    return "%d of %d bytes" % (seen, 128 * server.unit)


@must("base:allocation metadata context")
def status_data_is_not_zero(server):
    """What was written is not said to read as zeroes."""
    needs_allocation(server)
    server.needs_writes()
    for client in clients(server):
        data = noise(64 * server.unit, 4)
        succeeds(client.do(WRITE, 0, len(data), payload=data), "WRITE")
        at = 0
        for size, state in allocation(server, client, 0, len(data)):
            assert not state & ZERO or not any(data[at:at + size]), "data at %d" % at
            at += size


@must("NBD_CMD_WRITE_ZEROES", "The text wants the range provisioned; that it must then not be "
      "called a hole follows from what a hole is.")
def status_no_hole(server):
    """After WRITE_ZEROES with NO_HOLE there is no hole."""
    needs_allocation(server)
    for client in clients(server):
        if not list(offered(server, client, ZEROES)):
            raise Lacking("WRITE_ZEROES is not offered")
        succeeds(client.do(ZEROES, 0, 64 * server.unit, NO_HOLE), "WRITE_ZEROES")
        for _, state in allocation(server, client, 0, 64 * server.unit):
            assert not state & HOLE, "there is one"


@must("base:allocation metadata context")
def status_allocated_can_be_written(server):
    """What is no hole can be written, without ENOSPC."""
    needs_allocation(server)
    server.needs_writes()
    for client in clients(server):
        prepare(server, client)
        at = 0
        for size, state in allocation(server, client, 0, 128 * server.unit):
            size = min(size, 128 * server.unit - at)
            if not state & HOLE and size > 0:
                succeeds(client.do(WRITE, at, size), "WRITE")
            at += size


@should("NBD_CMD_BLOCK_STATUS", "Only where the server can easily tell, which is for it to judge.")
def status_tells(server):
    """After WRITE_ZEROES something is known of the range: a hole, or zeroes."""
    needs_allocation(server)
    for client in clients(server):
        if not list(offered(server, client, ZEROES)):
            raise Lacking("WRITE_ZEROES is not offered")
        length = min(server.size, MIB)
        succeeds(client.do(ZEROES, 0, length), "WRITE_ZEROES")
        found = allocation(server, client, 0, length)
        assert any(state & (HOLE | ZERO) for _, state in found), "state 0"
