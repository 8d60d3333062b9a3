# SPDX-License-Identifier: MIT
"""Rows: what READ, WRITE, TRIM, WRITE_ZEROES and CACHE do."""
from .check import *  # noqa: F403
from .rows import Lacking, NotApplicable, may, must, should
from .server import ALLOCATION, error_name
from .transmission import COMMANDS, RANGED, offered

FAR = (1 << 64) - (1 << 16)  # near the end of all numbers, and aligned to any block size


def sends(server, command, name):
    """The server offers the command, and the export may be changed."""
    if command in (WRITE, TRIM, ZEROES):
        server.needs_writes()
    if not list(offered(server, server.serve(), command)):
        raise Lacking("%s is not set" % name)


def each(server, command):
    """Clients of each kind that may send it."""
    if command in (WRITE, TRIM, ZEROES):
        server.needs_writes()
    if command == STATUS:
        server.needs_contexts()
    found = [client for client in server.kinds(server.contexts)
             if list(offered(server, client, command))]
    if not found:
        raise Lacking("%s is not offered" % COMMANDS[command])
    return found


# ---- data ----------------------------------------------------------------------------------


@must("NBD_CMD_WRITE")
def write_then_read(server):
    """What was written is read, by the same client and by the next."""
    for client in each(server, WRITE):
        for units in 1, 2, 7, 64:
            data = noise(units * server.unit, units)
            succeeds(client.do(WRITE, 3 * server.unit, len(data), payload=data), "WRITE")
            assert client.read(3 * server.unit, len(data)) == data, "other data"
        assert server.serve().read(3 * server.unit, len(data)) == data, "other data afterwards"


def only_there(server, command, flags=0):
    """The command changes nothing beside its range; returns what is in it afterwards."""
    before = noise(5 * server.unit, 5)
    for client in each(server, command):
        succeeds(client.do(WRITE, 0, len(before), payload=before), "WRITE")
        succeeds(client.do(command, 2 * server.unit, server.unit, flags), COMMANDS[command])
        after = client.read(0, len(before))
        assert after[:2 * server.unit] == before[:2 * server.unit], "what is before it has changed"
        assert after[3 * server.unit:] == before[3 * server.unit:], "what is behind it has changed"
        yield after[2 * server.unit:3 * server.unit], before[2 * server.unit:3 * server.unit]


@must("NBD_CMD_WRITE")
def write_only_there(server):
    """WRITE changes nothing beside its range."""
    for _ in only_there(server, WRITE):
        pass


@must("NBD_CMD_TRIM")
def trim_only_there(server):
    """TRIM changes nothing beside its range."""
    for _ in only_there(server, TRIM):
        pass


@must("NBD_CMD_WRITE_ZEROES")
def zeroes_only_there(server):
    """WRITE_ZEROES changes nothing beside its range."""
    for _ in only_there(server, ZEROES):
        pass


@must("NBD_CMD_WRITE_ZEROES")
def zeroes_read_back(server):
    """After WRITE_ZEROES the range reads as zeroes."""
    for after, _ in only_there(server, ZEROES):
        assert not any(after), "other bytes"


@must("Command flags")
def zeroes_no_hole(server):
    """WRITE_ZEROES with NO_HOLE is supported where WRITE_ZEROES is."""
    for after, _ in only_there(server, ZEROES, NO_HOLE):
        assert not any(after), "other bytes"


@must("NBD_CMD_CACHE")
def cache_changes_nothing(server):
    """CACHE changes no data; it may fail."""
    for client in each(server, CACHE):
        if list(offered(server, client, WRITE)):
            client.do(WRITE, 0, 4 * server.unit, payload=noise(4 * server.unit, 9))
        before = client.read(0, 4 * server.unit)
        seen = error_name(client.do(CACHE, 0, len(before)).error)
        assert client.read(0, len(before)) == before, "other data"
    return seen


@must("NBD_CMD_WRITE_ZEROES")
def zeroes_not_enotsup(server):
    """WRITE_ZEROES without FAST_ZERO does not fail with ENOTSUP."""
    for client in each(server, ZEROES):
        for flags in 0, NO_HOLE:
            error = client.do(ZEROES, 0, server.unit, flags).error
            assert error != ENOTSUP, "it does"


# ---- FAST_ZERO --------------------------------------------------------------------------------


def fast_zero(server, flags=0):
    """Error and content of 64 units with data in them, after FAST_ZERO."""
    sends(server, ZEROES, "SEND_WRITE_ZEROES")
    server.needs(SEND_FAST_ZERO, "SEND_FAST_ZERO")
    before = noise(64 * server.unit, 8)
    for client in each(server, ZEROES):
        succeeds(client.do(WRITE, 0, len(before), payload=before), "WRITE")
        error = client.do(ZEROES, 0, len(before), FAST_ZERO | flags).error
        yield error, client.read(0, len(before)), before


@must("NBD_CMD_WRITE_ZEROES")
def fast_zero_answer(server):
    """WRITE_ZEROES with FAST_ZERO succeeds, and there are zeroes, or fails with ENOTSUP."""
    for flags in 0, NO_HOLE:
        for error, after, _ in fast_zero(server, flags):
            assert error in (0, ENOTSUP), error_name(error)
            assert error or not any(after), "success, and other bytes than zeroes"
            seen = error_name(error)
    return seen + " with NO_HOLE"


@should("NBD_CMD_WRITE_ZEROES")
def fast_zero_failure_changes_nothing(server):
    """A WRITE_ZEROES that fails with ENOTSUP has changed nothing."""
    failed = False
    for flags in 0, NO_HOLE:
        for error, after, before in fast_zero(server, flags):
            failed |= error == ENOTSUP
            assert error != ENOTSUP or after == before, "data has changed"
    if not failed:
        raise NotApplicable("it always succeeds")


@should("NBD_CMD_WRITE_ZEROES")
def fast_zero_unoffered(server):
    """FAST_ZERO gets EINVAL where SEND_FAST_ZERO is not set."""
    sends(server, ZEROES, "SEND_WRITE_ZEROES")
    if server.flags & SEND_FAST_ZERO:
        raise NotApplicable("SEND_FAST_ZERO is set")
    return fails_with(server.serve().do(ZEROES, 0, server.unit, FAST_ZERO), EINVAL)


@should("NBD_CMD_WRITE_ZEROES")
def fast_zero_any_length(server):
    """WRITE_ZEROES with FAST_ZERO does not fail with EOVERFLOW, whatever its length."""
    sends(server, ZEROES, "SEND_WRITE_ZEROES")
    server.needs(SEND_FAST_ZERO, "SEND_FAST_ZERO")
    length = min(server.size, 0xffff0000) // server.unit * server.unit
    for client in each(server, ZEROES):
        seen = fails_with(client.do(ZEROES, 0, length, FAST_ZERO), 0, ENOTSUP)
    return seen


# ---- how long ------------------------------------------------------------------------------------


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
    client = server.serve()
    succeeds(client.do(WRITE, 0, length), "WRITE")
    succeeds(client.do(READ, 0, length), "READ")
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


# ---- where ---------------------------------------------------------------------------------------


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
            for offset, length in (1, server.unit), (0, 1), (0, server.min_block + 1):
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
