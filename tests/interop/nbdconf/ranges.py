# SPDX-License-Identifier: MIT
"""Rows: requests of all lengths and at all places, aligned and not."""
from .check import *  # noqa: F403
from .commands import each
from .rows import Lacking, NotApplicable, may, must, should
from .server import error_name
from .transmission import COMMANDS, offered

FAR = (1 << 64) - (1 << 16)  # near the end of all numbers, and aligned to any block size

# ---- how long ------------------------------------------------------------------------


@should("Size constraints")
def payload_write(server):
    """A WRITE of 32 MiB is no attack, even where less is allowed: the connection stays."""
    server.needs_writes()
    client = server.serve()
    error = client.do(WRITE, 0, 32 * MIB).error
    if server.size >= 32 * MIB and server.max_payload >= 32 * MIB:
        equal("success", error_name(error), "the WRITE")
    still_serves(server, client)
    return error_name(error)


@should("Size constraints")
def payload_read(server):
    """A READ of 32 MiB is no attack, even where less is allowed: the connection stays."""
    client = server.serve()
    error = client.do(READ, 0, 32 * MIB).error
    if server.size >= 32 * MIB and server.max_payload >= 32 * MIB:
        equal("success", error_name(error), "the READ")
    still_serves(server, client)
    return error_name(error)


@must("Size constraints")
def payload_largest(server):
    """Payloads of the size that is told are taken, as far as the export goes."""
    if not server.sizes:
        raise Lacking("no INFO_BLOCK_SIZE")
    server.needs_writes()
    length = min(server.max_payload, server.size, 64 * MIB) // server.unit * server.unit
    client, data = server.serve(), noise(length)
    succeeds(client.do(WRITE, 0, length, payload=data), "WRITE")
    assert client.read(0, length) == data, "other data"
    return "%d bytes" % length


@may("Size constraints")
def payload_beyond(server):
    """A WRITE of 40 MiB is done, gets an error, or ends the connection."""
    server.needs_writes()
    client = server.serve()
    return closed_or(lambda: error_name(client.do(WRITE, 0, 40 * MIB).error))


def long_effect(server, command):
    """A command without payload may be longer than any payload: no disconnect."""
    length = min(server.max_payload + server.unit, 0xffff0000) // server.unit * server.unit
    for client in each(server, command):
        reply = client.do(command, 0, length)
        if length <= server.size:
            seen = fails_with(reply, 0, EOVERFLOW, EINVAL)
        else:
            assert reply.error, "success, past the end"
            seen = error_name(reply.error) + ", past the end"
        still_serves(server, client)
    return seen


@should("Size constraints")
def long_trim(server):
    """A TRIM that is longer than any payload does not end the connection."""
    return long_effect(server, TRIM)


@should("Size constraints")
def long_zeroes(server):
    """A WRITE_ZEROES that is longer than any payload does not end the connection."""
    return long_effect(server, ZEROES)


@should("Size constraints")
def long_cache(server):
    """A CACHE that is longer than any payload does not end the connection."""
    return long_effect(server, CACHE)


@should("Size constraints")
def long_status(server):
    """A BLOCK_STATUS that is longer than any payload does not end the connection."""
    server.needs_contexts()
    length = min(server.max_payload + server.unit, 0xffff0000) // server.unit * server.unit
    for client in each(server, STATUS):
        seen = error_name(client.do(STATUS, 0, length).error)
        still_serves(server, client)
    return seen


def zero_length(server, command):
    for client in each(server, command):
        seen = error_name(client.do(command, 0, 0).error)
        still_serves(server, client)
    return seen


@should("NBD_CMD_READ")
def zero_length_read(server):
    """A READ of no bytes does not end the connection."""
    return zero_length(server, READ)


@should("NBD_CMD_WRITE")
def zero_length_write(server):
    """A WRITE of no bytes does not end the connection."""
    return zero_length(server, WRITE)


@should("NBD_CMD_TRIM")
def zero_length_trim(server):
    """A TRIM of no bytes does not end the connection."""
    return zero_length(server, TRIM)


@should("NBD_CMD_WRITE_ZEROES")
def zero_length_zeroes(server):
    """A WRITE_ZEROES of no bytes does not end the connection."""
    return zero_length(server, ZEROES)


@should("NBD_CMD_BLOCK_STATUS")
def zero_length_status(server):
    """A BLOCK_STATUS of no bytes does not end the connection."""
    return zero_length(server, STATUS)


# ---- where ---------------------------------------------------------------------------


def past_end(server, command, *allowed):
    """Behind the end, across it, and where offset and length overflow 64 bits."""
    end = server.size // server.unit * server.unit
    for client in each(server, command):
        for offset, length in ((end, server.unit), (end - server.unit, 2 * server.unit),
                               (1 << 63, server.unit), (FAR, 1 << 16), (FAR, 1 << 17)):
            seen = fails_with(client.do(command, offset, length), *allowed)
        still_serves(server, client)
    return seen


@should("Error values")
def past_end_read(server):
    """READ past the end gets EINVAL."""
    return past_end(server, READ, EINVAL)


@should("Error values")
def past_end_write(server):
    """WRITE past the end gets ENOSPC."""
    return past_end(server, WRITE, ENOSPC)


@should("Error values")
def past_end_trim(server):
    """TRIM past the end gets EINVAL."""
    return past_end(server, TRIM, EINVAL)


@should("NBD_CMD_WRITE_ZEROES")
def past_end_zeroes(server):
    """WRITE_ZEROES past the end gets ENOSPC."""
    return past_end(server, ZEROES, ENOSPC)


@should("Size constraints")
def past_end_cache(server):
    """CACHE past the end gets EINVAL."""
    return past_end(server, CACHE, EINVAL)


@should("NBD_CMD_BLOCK_STATUS")
def past_end_status(server):
    """BLOCK_STATUS past the end gets EINVAL."""
    return past_end(server, STATUS, EINVAL)


@must("Size constraints")
def last_block(server):
    """The last block can be read and written."""
    at = server.size // server.unit * server.unit - server.unit
    for client in server.kinds():
        succeeds(client.do(READ, at, server.unit), "READ")
        for command in offered(server, client, WRITE, TRIM, ZEROES, CACHE):
            error = client.do(command, at, server.unit).error
            assert not error or command == CACHE, "%s: %s" % (COMMANDS[command], error_name(error))


def unaligned(server, *commands):
    if server.min_block == 1:
        raise NotApplicable("the minimum block size is 1")
    for client in server.kinds(server.contexts):
        for command in offered(server, client, *commands):
            lengths = [1, server.min_block - 1, server.min_block + 1]
            if client.extended and command not in (READ, WRITE):
                lengths.append((1 << 40) + 1)
            for offset, length in [(1, server.unit)] + [(0, length) for length in lengths]:
                fails_with(client.do(command, offset, length), EINVAL)
        still_serves(server, client)


@should("Error values")
def unaligned_read(server):
    """READ of parts of blocks gets EINVAL."""
    unaligned(server, READ)


@should("Error values")
def unaligned_write(server):
    """WRITE of parts of blocks gets EINVAL."""
    server.needs_writes()
    unaligned(server, WRITE)


@should("Size constraints")
def unaligned_others(server):
    """TRIM, WRITE_ZEROES, CACHE and BLOCK_STATUS of parts of blocks get EINVAL."""
    unaligned(server, TRIM, ZEROES, CACHE, STATUS)


@should("Size constraints")
def unaligned_by_default(server):
    """Where no sizes are told, any byte can be read and written by itself."""
    if server.sizes:
        raise NotApplicable("sizes are told")
    server.needs_writes()
    client = server.serve()
    before = noise(64)
    succeeds(client.do(WRITE, 0, 64, payload=before), "WRITE")
    succeeds(client.do(WRITE, 13, 3, payload=b"abc"), "WRITE of 3 bytes")
    reply = client.do(READ, 11, 7)
    succeeds(reply, "READ of 7 bytes")
    equal(before[11:13] + b"abc" + before[16:18], reply.data, "the bytes")
