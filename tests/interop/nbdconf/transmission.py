# SPDX-License-Identifier: MIT
"""Rows: transmission flags, and how requests and replies belong together."""
import struct

from .check import *  # noqa: F403
from .rows import NotApplicable, may, must, should
from .server import ALLOCATION

DEFINED = (1 << 13) - 1
ANSWERED = ("The text says that the requests are handled; that a handled request has been answered "
            "is our reading.")
OFFERED_BY = {READ: 0, WRITE: 0, FLUSH: SEND_FLUSH, TRIM: SEND_TRIM, CACHE: SEND_CACHE,
              ZEROES: SEND_WRITE_ZEROES}
COMMANDS = {READ: "READ", WRITE: "WRITE", FLUSH: "FLUSH", TRIM: "TRIM", CACHE: "CACHE",
            ZEROES: "WRITE_ZEROES", STATUS: "BLOCK_STATUS"}


def offered(server, client, *commands):
    """Those of the commands that this client may send."""
    for command in commands:
        if command == STATUS:
            if client.contexts:
                yield command
        elif server.flags & OFFERED_BY[command] == OFFERED_BY[command]:
            if not (server.flags & READ_ONLY and command in (WRITE, TRIM, ZEROES)):
                yield command


def length_of(server, command):
    return 0 if command == FLUSH else server.unit


# ---- transmission flags --------------------------------------------------------------


@must("Transmission flags")
def flags_has_flags(server):
    """HAS_FLAGS is set."""
    assert server.flags & HAS_FLAGS, "flags %#x" % server.flags


@must("Transmission flags")
def flags_defined(server):
    """No flags are set that the text does not define."""
    for client in server.kinds():
        assert not client.flags & ~DEFINED, "flags %#x" % client.flags


@must("Transmission flags")
def flags_df_simple(server):
    """SEND_DF is not set where replies are simple."""
    assert not server.flags & SEND_DF, "flags %#x" % server.flags


@must("Transmission flags")
def flags_df_structured(server):
    """SEND_DF is set if and only if READ takes DF, where replies are structured."""
    client = server.serve(structured=True)
    error = client.do(READ, 0, server.unit, DF).error
    equal(bool(client.flags & SEND_DF), error == 0, "READ with DF succeeds")


@must("Transmission flags")
def flags_fast_zero(server):
    """SEND_FAST_ZERO is not set without SEND_WRITE_ZEROES."""
    assert not server.flags & SEND_FAST_ZERO or server.flags & SEND_WRITE_ZEROES, \
        "flags %#x" % server.flags


@must("Transmission flags")
def flags_payload_compact(server):
    """BLOCK_STATUS_PAYLOAD is not set without extended headers."""
    flags = server.flags
    if server.has_structured:
        flags |= server.serve(structured=True).flags
    assert not flags & STATUS_PAYLOAD, "flags %#x" % flags


@must("Transmission flags")
def flags_kept(server):
    """What a flag exposes works: FLUSH, TRIM, WRITE_ZEROES."""
    client = server.serve()
    for command in offered(server, client, FLUSH, TRIM, ZEROES):
        succeeds(client.do(command, 0, length_of(server, command)), COMMANDS[command])


@should("Maximum interoperability")
def flags_flush(server):
    """FLUSH is offered."""
    server.needs_writes()
    assert server.flags & SEND_FLUSH, "flags %#x" % server.flags


@should("Maximum interoperability")
def flags_fua(server):
    """FUA is offered."""
    server.needs_writes()
    assert server.flags & SEND_FUA, "flags %#x" % server.flags


# ---- read-only exports ---------------------------------------------------------------


def read_only(server, command):
    if not server.flags & READ_ONLY:
        raise NotApplicable("the export is writable")
    client = server.serve()
    reply = client.do(command, 0, server.unit)
    still_serves(server, client)
    return reply


@must("Transmission flags")
def read_only_refuses(server):
    """Where READ_ONLY is set, whatever writes fails."""
    for command in WRITE, TRIM, ZEROES:
        assert read_only(server, command).error, "%s succeeds" % COMMANDS[command]


@should("Error values")
def read_only_write(server):
    """WRITE to a read-only export gets EPERM."""
    return fails_with(read_only(server, WRITE), EPERM)


@should("Error values")
def read_only_trim(server):
    """TRIM of a read-only export gets EPERM."""
    return fails_with(read_only(server, TRIM), EPERM)


@should("NBD_CMD_WRITE_ZEROES")
def read_only_zeroes(server):
    """WRITE_ZEROES to a read-only export gets EPERM."""
    return fails_with(read_only(server, ZEROES), EPERM)


# ---- replies -------------------------------------------------------------------------


@must("Simple reply message")
def reply_simple(server):
    """Without structured replies every reply is a simple one."""
    client = server.serve()
    for command in offered(server, client, READ, WRITE, FLUSH, TRIM, CACHE, ZEROES):
        assert client.do(command, 0, length_of(server, command)).simple, COMMANDS[command]
    assert client.do(READ, server.size, server.unit).simple, "an error"


@must("Transmission")
def reply_cookie(server):
    """A reply has the cookie of its request, whatever 64 bits these are."""
    for client in server.kinds():
        for cookie in (0, 1, (1 << 64) - 1, 1 << 63, 0x6744669800000000, 0x2560951325609513):
            client.do(READ, 0, server.unit, cookie=cookie)
            client.do(READ, server.size, server.unit, cookie=cookie)


@must("Transmission")
def reply_each(server):
    """Each request in flight gets one reply, in any order."""
    client = server.serve()
    for cookie in range(64):
        client.request(READ, cookie % 16 * server.unit, server.unit, cookie=cookie)
    equal(list(range(64)), sorted(client.reply(server.unit).cookie for _ in range(64)), "cookies")
    quiet(server, client)


@must("Transmission")
def reply_same_cookie(server):
    """Cookies are opaque: those of two requests in flight may be the same."""
    client = server.serve()
    for _ in range(8):
        client.request(READ, 0, server.unit, cookie=7)
    equal([7] * 8, [client.reply(server.unit).cookie for _ in range(8)], "cookies")


@must("Simple reply message")
def reply_length(server):
    """A successful READ has as many bytes as were asked for, whatever number that is."""
    client = server.serve()
    for units in 1, 3, 8, 100:
        client.do(READ, server.unit, units * server.unit)
        still_serves(server, client)
    quiet(server, client)


@must("NBD_CMD_READ")
def reply_error_without_data(server):
    """A simple reply with an error has no data."""
    client = server.serve()
    reply = client.do(READ, server.size, server.unit)
    assert reply.error, "READ past the end succeeds"
    quiet(server, client)
    still_serves(server, client)


@must("NBD_CMD_WRITE")
def reply_to_write_without_data(server):
    """A reply to WRITE has no data."""
    server.needs_writes()
    for client in server.kinds():
        reply = client.do(WRITE, 0, server.unit)
        succeeds(reply)
        assert all(not payload for _, payload in reply.chunks), "a payload"
        quiet(server, client)


@must("Request message")
def request_in_pieces(server):
    """A request is understood however the stream cuts it."""
    client = server.serve()
    for byte in struct.pack(">IHHQQI", REQUEST, 0, READ, 5, 0, server.unit):
        client.send(bytes([byte]))
    equal(5, client.reply(server.unit).cookie, "cookie")


@must("Request message")
def request_with_the_last_option(server):
    """Requests that come in one piece with GO are served."""
    client = server.shake()
    data = info_data(server.name, INFO_BLOCK_SIZE)
    client.send(IHAVEOPT + struct.pack(">II", OPT_GO, len(data)) + data
                + struct.pack(">IHHQQI", REQUEST, 0, READ, 5, 0, server.unit))
    equal(REP_ACK, client.answers(OPT_GO)[-1][0], "the last reply to GO")
    equal(5, client.reply(server.unit).cookie, "cookie")


@may("Terminating the transmission phase")
def request_bad_magic(server):
    """A request without its magic number ends the connection, or gets an error."""
    client = server.serve()
    client.request(READ, 0, server.unit, magic=REQUEST + 1)
    client.socket.settimeout(server.patience_s)
    return closed_or(lambda: fails_with(client.reply(), EINVAL))


# ---- DISC ----------------------------------------------------------------------------


@must("NBD_CMD_DISC")
def disc_closes(server):
    """DISC ends the connection, and gets no reply."""
    for client in server.kinds():
        client.request(DISC)
        client.socket.settimeout(server.patience_s)
        try:
            client.take(1)
        except Closed:
            continue
        except TimeoutError as error:
            raise AssertionError("open after %g s" % server.patience_s) from error
        raise AssertionError("a reply")


@must("NBD_CMD_DISC", ANSWERED)
def disc_finishes(server):
    """Requests before DISC are handled first, and answered."""
    for _ in range(16):
        client = server.serve()
        for cookie in range(16):
            client.request(READ, 0, server.unit, cookie=cookie)
        client.request(DISC, cookie=99)
        equal(set(range(16)), {client.reply(server.unit).cookie for _ in range(16)}, "cookies")
        closes(server, client)


@must("NBD_CMD_DISC", "The text names the handling of requests, then the end of the connection; "
      "that they come in this order, and that an error will not do, is our reading.")
def disc_finishes_writes(server):
    """What was sent before DISC is written, and is there when the connection ends."""
    server.needs_writes()
    for turn in range(64):  # some servers do it most times
        client, reader = server.serve(), server.serve()
        data = noise(16 * server.unit, turn)
        client.request(WRITE, 0, len(data), payload=data)
        client.request(DISC)
        succeeds(client.reply(), "WRITE")
        closes(server, client)
        assert reader.read(0, len(data)) == data, "other data"
        server.hang_up()


# ---- FUA, FLUSH, several connections -------------------------------------------------


def takes_fua(server, *commands):
    server.needs(SEND_FUA, "SEND_FUA")
    for client in server.kinds((ALLOCATION,)):
        for command in offered(server, client, *commands):
            succeeds(client.do(command, 0, length_of(server, command), FUA), COMMANDS[command])


@must("Command flags")
def fua_when_writing(server):
    """FUA is accepted with WRITE, WRITE_ZEROES and TRIM."""
    server.needs_writes()
    takes_fua(server, WRITE, ZEROES, TRIM)


@must("Command flags")
def fua_otherwise(server):
    """FUA is accepted with READ, FLUSH, CACHE and BLOCK_STATUS as well."""
    takes_fua(server, READ, FLUSH, CACHE, STATUS)


@must("Command flags")
def fua_with_disc(server):
    """DISC with FUA is DISC."""
    server.needs(SEND_FUA, "SEND_FUA")
    client = server.serve()
    client.request(DISC, flags=FUA)
    closes(server, client)


@must("NBD_CMD_FLUSH")
def flush_after_write(server):
    """FLUSH succeeds after a WRITE, and changes nothing that is read."""
    server.needs(SEND_FLUSH, "SEND_FLUSH")
    server.needs_writes()
    data = noise(8 * server.unit, 3)
    for client in server.kinds():
        succeeds(client.do(WRITE, 0, len(data), payload=data))
        succeeds(client.do(FLUSH), "FLUSH")
        assert client.read(0, len(data)) == data, "other data"


def seen_by_others(server, write):
    """What @write(client, data) has done is what another connection reads."""
    server.needs(CAN_MULTI_CONN, "CAN_MULTI_CONN")
    server.needs_writes()
    clients = [server.serve() for _ in range(3)]
    for turn, client in enumerate(clients * 3):
        data = noise(16 * server.unit, turn)
        write(client, data)
        for other in clients:
            assert other.read(0, len(data)) == data, "another connection reads other data"


@must("Transmission flags")
def multi_conn_flush(server):
    """With CAN_MULTI_CONN, what a FLUSH has covered is what all connections read."""
    server.needs(SEND_FLUSH, "SEND_FLUSH")

    def write(client, data):
        succeeds(client.do(WRITE, 0, len(data), payload=data))
        succeeds(client.do(FLUSH), "FLUSH")
    seen_by_others(server, write)


@must("Transmission flags")
def multi_conn_fua(server):
    """With CAN_MULTI_CONN, what was written with FUA is what all connections read."""
    server.needs(SEND_FUA, "SEND_FUA")
    seen_by_others(server, lambda client, data: succeeds(
        client.do(WRITE, 0, len(data), FUA, payload=data)))


@must("Transmission flags")
def multi_conn_flush_of_others(server):
    """With CAN_MULTI_CONN, a FLUSH covers what other connections have been told is written."""
    server.needs(SEND_FLUSH, "SEND_FLUSH")
    other = server.serve()

    def write(client, data):
        succeeds(client.do(WRITE, 0, len(data), payload=data))
        succeeds(other.do(FLUSH), "FLUSH")
    seen_by_others(server, write)
