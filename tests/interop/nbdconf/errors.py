# SPDX-License-Identifier: MIT
"""Rows: commands and flags that a server does not know, and which errors there are."""
import random

from .check import *  # noqa: F403
from .commands import each
from .rows import may, must, should
from .server import ALLOCATION, ERRORS, error_name
from .transmission import COMMANDS, offered

UNDEFINED = [1 << bit for bit in range(6, 16)]


# ---- what is not known ---------------------------------------------------------------


@should("Error values")
def unknown_command(server):
    """A command that the server does not know gets EINVAL, and the connection stays."""
    resize = () if server.flags & SEND_RESIZE else (8,)
    for client in server.kinds():
        for command in (*resize, 9, 77, 255, 0xffff):
            seen = fails_with(client.do(command, 0, server.unit), EINVAL)
        still_serves(server, client)
    return seen


def refuses_flags(server, command, flags):
    """Each of them by itself gets EINVAL, and the connection stays."""
    for client in each(server, command):
        for flag in flags:
            length = 0 if command == FLUSH else server.unit
            error = client.do(command, 0, length, flag).error
            assert error == EINVAL, "flag %#x: %s" % (flag, error_name(error))
        still_serves(server, client)


@should("Error values")
def unknown_flag_read(server):
    """READ with a flag that is not defined gets EINVAL."""
    refuses_flags(server, READ, UNDEFINED)


@should("Error values")
def unknown_flag_write(server):
    """WRITE with a flag that is not defined gets EINVAL, and its payload is skipped."""
    refuses_flags(server, WRITE, UNDEFINED)


@should("Error values")
def unknown_flag_flush(server):
    """FLUSH with a flag that is not defined gets EINVAL."""
    refuses_flags(server, FLUSH, UNDEFINED)


@should("Error values")
def unknown_flag_trim(server):
    """TRIM with a flag that is not defined gets EINVAL."""
    refuses_flags(server, TRIM, UNDEFINED)


@should("Error values")
def unknown_flag_zeroes(server):
    """WRITE_ZEROES with a flag that is not defined gets EINVAL."""
    refuses_flags(server, ZEROES, UNDEFINED)


@must("NBD_CMD_CACHE")
def unknown_flag_cache(server):
    """CACHE with a flag that is not defined gets EINVAL, where SEND_CACHE is set."""
    refuses_flags(server, CACHE, UNDEFINED)


@should("Error values")
def unknown_flag_status(server):
    """BLOCK_STATUS with a flag that is not defined gets EINVAL."""
    refuses_flags(server, STATUS, UNDEFINED)


@should("Error values")
def misplaced_no_hole(server):
    """NO_HOLE with anything but WRITE_ZEROES gets EINVAL."""
    misplaced(server, NO_HOLE, ZEROES)


@should("Error values")
def misplaced_df(server):
    """DF with anything but READ gets EINVAL."""
    misplaced(server, DF, READ)


@should("Error values")
def misplaced_df_simple(server):
    """DF with READ where replies are simple gets EINVAL."""
    client = server.serve()
    fails_with(client.do(READ, 0, server.unit, DF), EINVAL)
    still_serves(server, client)


@should("Error values")
def misplaced_req_one(server):
    """REQ_ONE with anything but BLOCK_STATUS gets EINVAL."""
    misplaced(server, REQ_ONE, STATUS)


@should("Error values")
def misplaced_fast_zero(server):
    """FAST_ZERO with anything but WRITE_ZEROES gets EINVAL."""
    misplaced(server, FAST_ZERO, ZEROES)


@should("Error values")
def misplaced_payload_len(server):
    """PAYLOAD_LEN without extended headers gets EINVAL."""
    client = server.serve()
    for command in offered(server, client, READ, WRITE, TRIM, ZEROES):
        error = client.do(command, 0, server.unit, PAYLOAD_LEN).error
        assert error == EINVAL, "%s: %s" % (COMMANDS[command], error_name(error))
    still_serves(server, client)


def misplaced(server, flag, its_command):
    """The flag with all commands but the one that it is for."""
    for client in server.kinds(server.contexts):
        for command in offered(server, client, *(set(COMMANDS) - {its_command})):
            length = 0 if command == FLUSH else server.unit
            error = client.do(command, 0, length, flag).error
            assert error == EINVAL, "%s: %s" % (COMMANDS[command], error_name(error))


@may("NBD_CMD_FLUSH")
def flush_with_range(server):
    """FLUSH with an offset and a length is done, gets an error, or ends the connection."""
    server.needs(SEND_FLUSH, "SEND_FLUSH")
    client = server.serve()
    return closed_or(lambda: error_name(client.do(FLUSH, server.unit, server.unit).error))


# ---- which errors there are ----------------------------------------------------------


def sample(server, count=150):
    """Requests at random, right and wrong ones: command, flags and error of each."""
    rng = random.Random(1)
    for client in server.kinds((ALLOCATION,)):
        commands = list(offered(server, client, *COMMANDS)) + [9, 77]
        for _ in range(count):
            command = rng.choice(commands)
            flags = rng.choice((0, 0, FUA, NO_HOLE, DF, REQ_ONE, 1 << 9, 0x8000))
            offset = rng.choice((0, server.unit, 100, server.size, 1 << 63))
            length = rng.choice((0, 1, server.unit, 16 * server.unit))
            yield command, flags, client.do(command, offset, length, flags).error


@must("Error values")
def errors_defined(server):
    """Errors are of those that the text defines."""
    for command, _, error in sample(server):
        assert error in ERRORS, "command %d: error %d" % (command, error)


@should("Error values")
def errors_eoverflow(server):
    """EOVERFLOW comes only where a READ with DF, or a command without payload, is too long."""
    for command, flags, error in sample(server):
        assert error != EOVERFLOW, "command %d with flags %#x" % (command, flags)


@should("Error values")
def errors_enotsup(server):
    """ENOTSUP comes only where FAST_ZERO was asked for."""
    for command, flags, error in sample(server):
        assert error != ENOTSUP, "command %d with flags %#x" % (command, flags)


@should("Error values")
def errors_enomem(server):
    """ENOMEM does not come if that can be helped."""
    for command, flags, error in sample(server):
        assert error != ENOMEM, "command %d with flags %#x" % (command, flags)


@should("Terminating the transmission phase")
def errors_eshutdown(server):
    """ESHUTDOWN does not come while the server runs on."""
    for command, flags, error in sample(server):
        assert error != ESHUTDOWN, "command %d with flags %#x" % (command, flags)


@must("Terminating the transmission phase")
def errors_keep_connection(server):
    """Errors do not end the connection: 100 requests that fail, one that does not."""
    for client in server.kinds():
        for _ in range(100):
            client.do(READ, server.size, server.unit)
        still_serves(server, client)
