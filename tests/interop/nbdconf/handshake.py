# SPDX-License-Identifier: MIT
"""Rows: the greeting, client flags, options in general, EXPORT_NAME, ABORT, LIST, STARTTLS."""
import struct

from .check import *  # noqa: F403
from .rows import Lacking, NotApplicable, may, must, should
from .server import NO_SUCH_NAME, OPTION_ERRORS, listed_export, option_error

# ---- the greeting --------------------------------------------------------------------


def greeting(server):
    client = server.shake(flags=None)
    return client.handshake_flags


@must("Newstyle negotiation")
def greeting_magic(server):
    """The server speaks first: NBDMAGIC, IHAVEOPT, 16 bits of flags."""
    greeting(server)  # which looks at it


@must("Fixed newstyle negotiation")
def greeting_fixed_newstyle(server):
    """The greeting sets NBD_FLAG_FIXED_NEWSTYLE."""
    assert greeting(server) & FIXED_NEWSTYLE, "not set"


@must("Handshake flags")
def greeting_no_other_flags(server):
    """The greeting sets no flags but FIXED_NEWSTYLE and NO_ZEROES."""
    flags = greeting(server)
    assert flags & ~(FIXED_NEWSTYLE | NO_ZEROES) == 0, "flags %#x" % flags


@must("Client flags")
def client_flag_unknown(server):
    """A client that sets a flag that is not defined is disconnected."""
    kept = [bit for bit in range(2, 32) if not dropped(server, 3 | 1 << bit)]
    assert not kept, "served with %d of the 30 flags that are none" % len(kept)


def dropped(server, flags):
    """The server ends the connection, instead of answering an option."""
    client = server.shake(flags)
    try:
        client.ask(99)
    except Closed:
        return True
    client.close()
    return False


@must("Client flags")
def client_flag_not_offered(server):
    """A client that sets a flag that the greeting has not offered is disconnected."""
    missing = (FIXED_NEWSTYLE | NO_ZEROES) & ~greeting(server)
    if not missing:
        raise NotApplicable("all that are defined are offered")
    assert dropped(server, missing), "served with flags %#x" % missing


@should("Handshake flags")
def client_flag_none(server):
    """A client that sets no flags is served as of old: EXPORT_NAME, with zeroes."""
    client = server.shake(flags=0)
    client.option(OPT_EXPORT_NAME, server.name.encode())
    client.take(134)
    still_serves(server, client)


# ---- options -------------------------------------------------------------------------


@must("Baseline")
def option_unknown(server):
    """An option that the server does not know gets ERR_UNSUP."""
    client = server.shake()
    for number in 12, 99, 0x7fffffff, 0xffffffff, 0:
        option_fails(client, number, b"", ERR_UNSUP)


@must("Baseline")
def option_unknown_with_data(server):
    """An unknown option's data is skipped: the next option is understood."""
    client = server.shake()
    for data in b"x", bytes(8), b"IHAVEOPT", b"x" * 4096:
        option_fails(client, 99, data, ERR_UNSUP)
    in_step(client)


@must("NBD_OPT_PEEK_EXPORT")
def option_withdrawn(server):
    """PEEK_EXPORT, which was withdrawn, is an unknown option."""
    client = server.shake()
    option_fails(client, OPT_PEEK, b"", ERR_UNSUP)
    in_step(client)


@must("Fixed newstyle negotiation")
def option_reply_header(server):
    """A reply to an option has the magic number and repeats the option's number."""
    client = server.shake()
    for number in OPT_LIST, OPT_INFO, OPT_STARTTLS, 99, 0xfffffffe:
        data = info_data(server.name) if number == OPT_INFO else b""
        if number != OPT_STARTTLS or server.refuses_tls:
            client.ask(number, data)  # which looks at both


@must("NBD_REP_ACK")
def option_ack_without_data(server):
    """An ACK carries no data."""
    client = server.shake()
    for number, data in (OPT_LIST, b""), (OPT_INFO, info_data(server.name)):
        kind, content = client.ask(number, data)[-1]
        assert kind != REP_ACK or not content, "option %d: %r" % (number, content)


def errors(server):
    """Errors that any server can be brought to: pairs of reply type and data."""
    for number, data in ((99, b""), (4, b""), (OPT_LIST, b"x"), (OPT_STRUCTURED, b"x"),
                         (OPT_INFO, info_data(NO_SUCH_NAME))):
        client = server.shake()
        kind, text = client.ask(number, data)[-1]
        client.close()
        if kind >> 31:
            yield kind, text


@must("Option reply types")
def option_error_text(server):
    """What an error reply carries is a string: UTF-8, no NUL, 4096 bytes at most."""
    for _, text in errors(server):
        is_string(text)


@should("Conventions")
def option_error_text_length(server):
    """Strings in error replies have 256 bytes at most."""
    for _, text in errors(server):
        is_string(text, 256)


@must("Option reply types")
def option_error_defined(server):
    """Errors are of those that the text defines."""
    for kind, _ in errors(server):
        assert kind in OPTION_ERRORS, option_error(kind)


@must("Newstyle negotiation")
def option_in_pieces(server):
    """An option is understood however the stream cuts it."""
    client = server.shake()
    data = info_data(server.name)
    for byte in IHAVEOPT + struct.pack(">II", OPT_INFO, len(data)) + data:
        client.send(bytes([byte]))
    equal(REP_ACK, client.answers(OPT_INFO)[-1][0], "the last reply")


@must("Termination of the session during option haggling")
def option_many(server):
    """Options are answered as long as a client has some: 32 of them at least."""
    client = server.shake()
    for _ in range(16):
        equal(REP_ACK, client.result(OPT_INFO, info_data(server.name)), "INFO")
        in_step(client)


@may("Termination of the session during option haggling")
def option_bad_magic(server):
    """An option without its magic number ends the connection, or gets an answer."""
    client = server.shake()
    client.option(99, magic=b"IHAVENOT")
    client.socket.settimeout(server.patience_s)
    return closed_or(lambda: "answered" if client.take(1) else None)


@may("Termination of the session during option haggling")
def option_huge(server):
    """An option that announces 2 GiB of data ends the connection, or is waited for."""
    client = server.shake()
    client.option(99, length=0x7fffffff)
    client.socket.settimeout(0.5)
    return "closed" if client.is_closed() else "waits"


# ---- EXPORT_NAME ---------------------------------------------------------------------


def export_name(server, flags, take):
    client = server.shake(flags)
    client.option(OPT_EXPORT_NAME, server.name.encode())
    return client, client.take(take)


@should("Maximum interoperability")
def export_name_served(server):
    """EXPORT_NAME leads to the transmission phase."""
    client, _ = export_name(server, 3, 10)
    still_serves(server, client)


@must("NBD_OPT_EXPORT_NAME")
def export_name_zeroes(server):
    """Without NBD_FLAG_C_NO_ZEROES 124 zeroes follow size and flags."""
    client, reply = export_name(server, 1, 134)
    equal(bytes(124), reply[10:], "the zeroes")
    still_serves(server, client)


@must("Handshake flags")
def export_name_no_zeroes(server):
    """With NBD_FLAG_C_NO_ZEROES nothing follows size and flags."""
    if not greeting(server) & NO_ZEROES:
        raise Lacking("NO_ZEROES is not set")
    client, _ = export_name(server, 3, 10)
    quiet(server, client)
    still_serves(server, client)


@must("NBD_INFO_EXPORT")
def export_name_same_as_go(server):
    """EXPORT_NAME and GO tell the same size and flags."""
    _, reply = export_name(server, 3, 10)
    equal((server.size, server.flags), struct.unpack(">QH", reply), "size and flags")


@must("NBD_OPT_EXPORT_NAME")
def export_name_unknown(server):
    """EXPORT_NAME of an export that does not exist ends the connection."""
    server.needs_other_names()
    for name in NO_SUCH_NAME.encode(), b"n" * 5000:
        client = server.shake()
        client.option(OPT_EXPORT_NAME, name)
        closes(server, client, "the connection after a name of %d bytes" % len(name))


@must("Conventions")
def export_name_longest(server):
    """A name of 4096 bytes is a name: EXPORT_NAME of it ends the connection, at once."""
    server.needs_other_names()
    client = server.shake()
    client.option(OPT_EXPORT_NAME, b"n" * 4096)
    closes(server, client)


# ---- ABORT ---------------------------------------------------------------------------


@must("NBD_OPT_ABORT")
def abort_ack(server):
    """ABORT gets an ACK."""
    equal(REP_ACK, server.shake().result(OPT_ABORT), "reply type")


@should("NBD_OPT_ABORT")
def abort_data_ignored(server):
    """ABORT with data gets an ACK all the same."""
    equal(REP_ACK, server.shake().result(OPT_ABORT, b"good bye"), "reply type")


@should("NBD_OPT_ABORT")
def abort_without_waiting(server):
    """Clients that send ABORT and are gone do no harm to others."""
    other = server.shake()
    for _ in range(8):
        client = server.shake()
        client.option(OPT_ABORT)
        client.close()
    in_step(other)
    in_step(server.shake())


# ---- LIST ----------------------------------------------------------------------------


def listing(server):
    """The entries; a server may be told not to give any."""
    replies = server.shake().ask(OPT_LIST)
    if replies[-1][0] == ERR_POLICY:
        raise NotApplicable("the server does not list exports (ERR_POLICY)")
    equal(REP_ACK, replies[-1][0], "the last reply")
    return replies[:-1]


@must("Baseline")
def list_answered(server):
    """LIST is implemented: a list, or ERR_POLICY."""
    kind = server.shake().result(OPT_LIST)
    assert kind in (REP_ACK, ERR_POLICY), option_error(kind)
    return option_error(kind)


@must("NBD_OPT_LIST")
def list_server_replies(server):
    """A list is of SERVER replies, and an ACK ends it."""
    for kind, _ in listing(server):
        equal(REP_SERVER, kind, "reply type")


@must("NBD_REP_SERVER")
def list_name_length(server):
    """A listed name is no longer than its reply."""
    for entry in listing(server):
        listed_export(entry)


@must("Conventions")
def list_strings(server):
    """Listed names and descriptions are strings: UTF-8, no NUL, 4096 bytes at most."""
    for entry in listing(server):
        for text in listed_export(entry):
            is_string(text)


@should("Conventions")
def list_strings_length(server):
    """Listed names and descriptions have 256 bytes at most."""
    for entry in listing(server):
        for text in listed_export(entry):
            is_string(text, 256)


@must("NBD_REP_SERVER")
def list_names_lead_somewhere(server):
    """What is listed is what INFO takes."""
    client = server.shake()
    for entry in listing(server)[:16]:
        name, _ = listed_export(entry)
        kind = client.result(OPT_INFO, info_data(name))
        assert kind == REP_ACK, "%r: %s" % (name, option_error(kind))


@should("NBD_OPT_LIST")
def list_data_refused(server):
    """LIST with data gets ERR_INVALID."""
    return option_fails(server.shake(), OPT_LIST, b"x", ERR_INVALID)


@must("Baseline")
def list_data_in_step(server):
    """After LIST with data the next option is understood."""
    client = server.shake()
    client.ask(OPT_LIST, b"x" * 100)
    in_step(client)


@should("Fixed newstyle negotiation", "The text lets servers refuse a repeated option that changes "
        "their state, which LIST does not; it does not say that others must be answered again.")
def list_twice(server):
    """LIST may be asked for again, and says the same."""
    client = server.shake()
    first, second = client.ask(OPT_LIST), client.ask(OPT_LIST)
    equal(option_error(first[-1][0]), option_error(second[-1][0]), "the end of the second list")
    equal(first, second, "the second list")


# ---- STARTTLS, without TLS -----------------------------------------------------------


@must("NOTLS mode")
def starttls_refused(server):
    """STARTTLS where there is no TLS gets ERR_POLICY, ERR_UNSUP or another error."""
    if not server.refuses_tls:
        raise NotApplicable("the server has TLS")
    return option_fails(server.shake(), OPT_STARTTLS, b"",
                        ERR_POLICY, ERR_UNSUP, ERR_PLATFORM, ERR_INVALID)


@must("NBD_OPT_STARTTLS")
def starttls_data(server):
    """STARTTLS with data gets an error, such as ERR_INVALID, or ERR_UNSUP without TLS."""
    return option_fails(server.shake(), OPT_STARTTLS, b"x",
                        ERR_INVALID, ERR_POLICY, ERR_UNSUP, ERR_PLATFORM)


@must("NOTLS mode")
def starttls_refused_in_step(server):
    """A refused STARTTLS leaves the rest as it is: the export can be entered."""
    client = server.shake()
    client.ask(OPT_STARTTLS, b"x")
    server.enter(client)
    still_serves(server, client)


@must("NOTLS mode")
def notls_no_tls_reqd(server):
    """Where there is no TLS nothing gets ERR_TLS_REQD."""
    if not server.refuses_tls:
        raise NotApplicable("the server has TLS")
    client = server.shake()
    for number, data in ((OPT_LIST, b""), (99, b""), (OPT_INFO, info_data(NO_SUCH_NAME)),
                         (OPT_STARTTLS, b"x"), (OPT_INFO, info_data(server.name))):
        assert client.result(number, data) != ERR_TLS_REQD, "option %d" % number
