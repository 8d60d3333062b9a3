# SPDX-License-Identifier: MIT
"""Rows: what READ, WRITE, TRIM, WRITE_ZEROES and CACHE do."""
from .check import *  # noqa: F403
from .rows import Lacking, NotApplicable, must, should
from .server import error_name
from .transmission import COMMANDS, offered


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


# ---- data ----------------------------------------------------------------------------


@must("NBD_CMD_WRITE")
def write_then_read(server):
    """What was written is read, by the same client and by the next."""
    for client in each(server, WRITE):
        for units in 1, 2, 7, 64, MIB // 2 // server.unit:
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


# ---- FAST_ZERO -----------------------------------------------------------------------


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
