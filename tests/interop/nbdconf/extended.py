# SPDX-License-Identifier: MIT
"""Rows: extended headers, which are in a branch of the text (extension-ext-header)."""
import struct

from .check import *  # noqa: F403
from .rows import Lacking, NotApplicable, may, must, should
from .server import ALLOCATION, error_name
from .transmission import COMMANDS, offered

BEYOND = 1 << 40  # bytes, as the length of what has a payload


def needs_extended(server):
    if not server.has_extended:
        raise Lacking("no extended headers")


def extended(server, contexts=()):
    needs_extended(server)
    return server.serve(extended=True, contexts=contexts)


# ---- negotiation ---------------------------------------------------------------------


@must("NBD_OPT_EXTENDED_HEADERS")
def extended_answered(server):
    """EXTENDED_HEADERS gets an ACK, or ERR_UNSUP from servers without it."""
    return option_fails(server.shake(), OPT_EXTENDED, b"", REP_ACK, ERR_UNSUP)


@should("NBD_OPT_EXTENDED_HEADERS")
def extended_data_refused(server):
    """EXTENDED_HEADERS with data gets ERR_INVALID."""
    needs_extended(server)
    return option_fails(server.shake(), OPT_EXTENDED, b"x", ERR_INVALID)


@must("NBD_OPT_EXTENDED_HEADERS")
def extended_data_no_effect(server):
    """An EXTENDED_HEADERS that was refused changes nothing: headers are compact."""
    client = server.shake()
    if client.result(OPT_EXTENDED, b"x") == REP_ACK:
        raise NotApplicable("it is not refused")
    in_step(client)
    server.enter(client)
    assert client.do(READ, 0, server.unit).simple, "no simple reply"


@should("NBD_OPT_EXTENDED_HEADERS")
def extended_alone(server):
    """EXTENDED_HEADERS is taken without STRUCTURED_REPLY before it."""
    if not server.has_structured:
        raise Lacking("no structured replies")
    client = server.negotiate(structured=True)
    if client.result(OPT_EXTENDED) != REP_ACK:
        raise Lacking("no extended headers")
    assert server.has_extended, "only after STRUCTURED_REPLY"


@must("NBD_OPT_EXTENDED_HEADERS")
def extended_over_structured(server):
    """EXTENDED_HEADERS after STRUCTURED_REPLY takes precedence."""
    needs_extended(server)
    client = server.negotiate(structured=True)
    client.negotiate_extended()
    server.enter(client)
    still_serves(server, client)  # which looks at the header


@must("NBD_OPT_STRUCTURED_REPLY")
def extended_then_structured(server):
    """STRUCTURED_REPLY after EXTENDED_HEADERS gets ERR_EXT_HEADER_REQD, and changes nothing."""
    needs_extended(server)
    client = server.negotiate(extended=True)
    option_fails(client, OPT_STRUCTURED, b"", ERR_EXT_HEADER_REQD)
    server.enter(client)
    still_serves(server, client)


@must("NBD_OPT_INFO and NBD_OPT_GO")
def extended_go(server):
    """After EXTENDED_HEADERS GO is known."""
    needs_extended(server)
    client = server.negotiate(extended=True)
    assert client.result(OPT_GO, info_data(server.name, INFO_BLOCK_SIZE)) != ERR_UNSUP, "ERR_UNSUP"


@must("NBD_OPT_SET_META_CONTEXT")
def extended_contexts(server):
    """Contexts can be selected with extended headers alone."""
    needs_extended(server)
    server.needs_contexts()
    client = extended(server, server.contexts)
    equal(sorted(server.contexts), sorted(client.contexts), "contexts")


@should("Maximum interoperability")
def extended_not_required(server):
    """Clients without extended headers are served."""
    needs_extended(server)
    still_serves(server, server.serve())


@must("Transmission flags")
def extended_df(server):
    """SEND_DF is set if and only if READ takes DF."""
    client = extended(server)
    error = client.do(READ, 0, server.unit, DF).error
    equal(bool(client.flags & SEND_DF), error == 0, "READ with DF succeeds")


# ---- headers -------------------------------------------------------------------------


def both_results(server, client):
    """Each command once as it should be, and once past the end."""
    end = server.size // server.unit * server.unit
    for command in offered(server, client, READ, WRITE, FLUSH, TRIM, CACHE, ZEROES, STATUS):
        length = 0 if command == FLUSH else server.unit
        yield command, 0, length
        if command != FLUSH:
            yield command, end, length


@must("Extended reply chunk message")
def extended_replies(server):
    """Every reply has the extended header, errors and those without data too."""
    client = extended(server, server.contexts)
    for command, offset, length in both_results(server, client):
        client.do(command, offset, length)  # which looks at it


@must("Extended reply chunk message")
def extended_offset(server):
    """A reply has the offset of its request."""
    client = extended(server, server.contexts)
    for cookie, (command, offset, length) in enumerate(both_results(server, client)):
        client.do(command, offset, length, cookie=cookie)  # which looks at it
    client.do(READ, server.unit, 4 * server.unit, cookie=99)


@must("Transmission")
def extended_cookie(server):
    """A reply has the cookie of its request."""
    client = extended(server)
    for cookie in 0, 1, 1 << 63, (1 << 64) - 1:
        client.do(READ, server.unit, server.unit, cookie=cookie)


@may("Request message")
def extended_compact_request(server):
    """A compact request where headers are extended ends the connection, or gets an error."""
    client = extended(server)
    client.offsets[1] = {0}
    client.send(struct.pack(">IHHQQI", REQUEST, 0, READ, 1, 0, server.unit) + bytes(4))
    client.socket.settimeout(server.patience_s)
    return closed_or(lambda: fails_with(client.reply(), EINVAL))


# ---- payloads ------------------------------------------------------------------------


@must("Request message")
def extended_write(server):
    """WRITE with PAYLOAD_LEN is a WRITE."""
    server.needs_writes()
    client = extended(server)
    data = noise(8 * server.unit, 6)
    succeeds(client.do(WRITE, server.unit, len(data), payload=data), "WRITE")
    assert client.read(server.unit, len(data)) == data, "other data"


@should("Error values")
def extended_write_without_flag(server):
    """WRITE without PAYLOAD_LEN gets EINVAL, with no payload waited for; nothing is written."""
    server.needs_writes()
    client = extended(server)
    data = noise(server.unit, 2)
    succeeds(client.do(WRITE, 0, len(data), payload=data), "WRITE")
    for length in server.unit, 32 * MIB, BEYOND:
        client.request_extended(WRITE, 0, length, 0, cookie=5)
        fails_with(client.reply(), EINVAL)
    assert client.read(0, server.unit) == data, "other data"


def with_payload(client, command, size):
    client.request_extended(command, 0, size, PAYLOAD_LEN, cookie=5, payload=bytes(size))
    return client.reply()


@must("Command flags")
def extended_payload_unwanted(server):
    """PAYLOAD_LEN with a command that has no payload gets EINVAL."""
    client = extended(server)
    for command in offered(server, client, READ, FLUSH, TRIM, CACHE, ZEROES):
        error = with_payload(client, command, server.unit).error
        assert error == EINVAL, "%s: %s" % (COMMANDS[command], error_name(error))


@should("Request message")
def extended_payload_skipped(server):
    """A payload that is not wanted is skipped, also of an unknown command."""
    client = extended(server)
    for command in (*offered(server, client, READ, TRIM, ZEROES, CACHE), 99):
        for size in 1, server.unit, MIB:
            with_payload(client, command, size)
    with_payload(client, READ, min(server.max_payload, 32 * MIB))
    still_serves(server, client)


@should("Request message")
def extended_payload_too_long(server):
    """A payload that is longer than the largest ends the connection."""
    for command in WRITE, READ:
        client = extended(server)
        client.request_extended(command, 0, BEYOND, PAYLOAD_LEN)
        closes(server, client)


# ---- 64 bits -------------------------------------------------------------------------


@should("Size constraints")
def extended_long_effect(server):
    """Lengths of more than 32 bits do not end the connection, past the end or not."""
    client = extended(server, server.contexts)
    for command in offered(server, client, TRIM, CACHE, ZEROES, STATUS):
        for length in 1 << 32, BEYOND, (1 << 64) - (1 << 16):
            error = client.do(command, 0, length).error
            assert error or length <= server.size, "%s: success, past the end" % COMMANDS[command]
    still_serves(server, client)


@should("Error values")
def extended_past_end(server):
    """With 64 bits past the end: EINVAL, and ENOSPC for WRITE_ZEROES."""
    client = extended(server, server.contexts)
    end = server.size // server.unit * server.unit
    for command in offered(server, client, TRIM, CACHE, ZEROES, STATUS):
        wanted = ENOSPC if command == ZEROES else EINVAL
        for offset, length in ((server.unit, (1 << 64) - (1 << 16)), (0, 1 << 62),
                               (1 << 63, 1 << 63), (0, end + server.unit), (server.unit, end)):
            error = client.do(command, offset, length).error
            assert error == wanted, "%s: %s" % (COMMANDS[command], error_name(error))


@should("NBD_CMD_READ")
def extended_long_read(server):
    """A READ of more than 32 bits gets an error, past the end or not, and the connection stays."""
    client = extended(server)
    seen = fails_with(client.do(READ, 0, BEYOND), EINVAL, EOVERFLOW)
    still_serves(server, client)
    return seen


# ---- BLOCK_STATUS --------------------------------------------------------------------


def status_client(server):
    needs_extended(server)
    server.needs_contexts()
    return extended(server, server.contexts)


@must("NBD_REPLY_TYPE_BLOCK_STATUS_EXT")
def extended_status_type(server):
    """Chunks are BLOCK_STATUS_EXT, however short the extents."""
    client = status_client(server)
    for length in server.unit, 128 * server.unit:
        reply = client.do(STATUS, 0, length)
        succeeds(reply, "BLOCK_STATUS")
        equal({CHUNK_STATUS_EXT}, {kind for kind, _ in reply.chunks} - {CHUNK_NONE}, "chunk types")


@must("NBD_REPLY_TYPE_BLOCK_STATUS_EXT")
def extended_status_count(server):
    """The number of extents in a chunk is right, and not 0."""
    client = status_client(server)
    for kind, payload in client.do(STATUS, 0, 128 * server.unit).chunks:
        if kind == CHUNK_STATUS_EXT:
            count = struct.unpack(">I", payload[4:8])[0]
            assert count and len(payload) == 8 + 16 * count, "%d in %d bytes" % (
                count, len(payload))


@must("NBD_REPLY_TYPE_BLOCK_STATUS_EXT")
def extended_status_bits(server):
    """base:allocation has 32 bits of state; the others are 0."""
    client = status_client(server)
    if ALLOCATION not in client.contexts:
        raise Lacking("no " + ALLOCATION)
    for kind, payload in client.do(STATUS, 0, 128 * server.unit).chunks:
        if kind == CHUNK_STATUS_EXT and payload[:4] == struct.pack(
                ">I", client.contexts[ALLOCATION]):
            assert all(state < 1 << 32 for _, state in struct.iter_unpack(">QQ", payload[8:])), \
                "more bits"


# ---- BLOCK_STATUS with a payload -----------------------------------------------------


@should("Transmission flags")
def payload_flag_needs_contexts(server):
    """BLOCK_STATUS_PAYLOAD is not set for clients without a context."""
    assert not extended(server).flags & STATUS_PAYLOAD, "it is"


def payload_client(server):
    client = status_client(server)
    if not client.flags & STATUS_PAYLOAD:
        raise Lacking("BLOCK_STATUS_PAYLOAD is not set")
    return client


def query(client, payload):
    """The reply to a BLOCK_STATUS with this payload."""
    client.request_extended(STATUS, 0, len(payload), PAYLOAD_LEN, cookie=5, payload=payload)
    return client.reply()


def named(length, *ids):
    return struct.pack(">Q", length) + b"".join(struct.pack(">I", number) for number in ids)


@must("NBD_CMD_BLOCK_STATUS")
def payload_names_contexts(server):
    """A payload names contexts: there are chunks of those and of no others."""
    client = payload_client(server)
    ids = sorted(client.contexts.values())
    for wanted in [[number] for number in ids] + [ids]:
        reply = query(client, named(server.unit, *wanted))
        succeeds(reply, "BLOCK_STATUS")
        equal(wanted, sorted(struct.unpack(">I", payload[:4])[0]
                             for kind, payload in reply.chunks if kind != CHUNK_NONE), "contexts")


def refuses_payload(server, payload, client=None):
    client = client or payload_client(server)
    fails_with(query(client, payload), EINVAL)
    still_serves(server, client)


@must("NBD_CMD_BLOCK_STATUS")
def payload_context_twice(server):
    """A payload that names a context twice gets EINVAL, in step."""
    number = next(iter(payload_client(server).contexts.values()))
    refuses_payload(server, named(server.unit, number, number))


@must("NBD_CMD_BLOCK_STATUS")
def payload_context_unknown(server):
    """A payload that names a context which is not selected gets EINVAL, in step."""
    ids = payload_client(server).contexts.values()
    refuses_payload(server, named(server.unit, max(ids) + 1000))


@must("NBD_CMD_BLOCK_STATUS")
def payload_odd_length(server):
    """A payload that is not of 8 and a multiple of 4 bytes gets EINVAL, in step."""
    for size in 1, 7, 9, 13, MIB + 1:
        refuses_payload(server, bytes(size))


@must("NBD_CMD_BLOCK_STATUS")
def payload_not_offered(server):
    """A payload where BLOCK_STATUS_PAYLOAD is not set gets EINVAL, in step."""
    client = extended(server)
    if client.flags & STATUS_PAYLOAD:
        raise NotApplicable("it is set")
    refuses_payload(server, named(server.unit, 1), client)


@should("NBD_CMD_BLOCK_STATUS")
def payload_past_end(server):
    """The length in a payload counts: past the end gets EINVAL."""
    client = payload_client(server)
    number = next(iter(client.contexts.values()))
    fails_with(query(client, named(server.size + (1 << 16), number)), EINVAL)
