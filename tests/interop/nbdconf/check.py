# SPDX-License-Identifier: MIT
"""What checks have in common: assertions that say what was seen, and bytes to write."""
import random
import socket

from raw_nbd import *  # noqa: F403  one vocabulary, as in the protocol's text
from .server import error_name, option_error


def equal(wanted, got, what):
    assert wanted == got, "%s: %r, not %r" % (what, got, wanted)


def in_step(client):
    """The option after it is understood: an unknown one, which leaves no traces."""
    kind, _ = client.ask(99)[-1]
    assert kind == ERR_UNSUP, "the option after it: %s" % option_error(kind)


def still_serves(server, client):
    reply = client.do(READ, 0, server.unit)
    assert reply.error == 0, "the request after it: %s" % error_name(reply.error)


def option_fails(client, option, data, *allowed):
    """The last reply is one of those; says which."""
    kind = client.result(option, data)
    assert kind in allowed, "%s, not %s" % (
        option_error(kind), " or ".join(map(option_error, allowed)))
    return option_error(kind)


def fails_with(reply, *allowed):
    assert reply.error in allowed, "%s, not %s" % (
        error_name(reply.error), " or ".join(map(error_name, allowed)))
    return error_name(reply.error)


def succeeds(reply, what="request"):
    assert reply.error == 0, "%s: %s" % (what, error_name(reply.error))


def closes(server, client, what="the connection"):
    client.socket.settimeout(server.patience_s)
    assert client.is_closed(), "%s is open after %g s" % (what, server.patience_s)


def closed_or(answer):
    """Where the server may as well end the connection: what @answer says, or "closed"."""
    try:
        return answer()
    except Closed:
        return "closed"


def is_string(data, longest=4096):
    """The text's rules for strings."""
    assert len(data) <= longest, "%d bytes" % len(data)
    assert b"\0" not in data, "a NUL in %r" % data
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise AssertionError("not UTF-8: %r" % data) from error


def quiet(server, client):
    """Nothing more comes."""
    client.socket.settimeout(min(0.1, server.patience_s))
    try:
        assert not client.socket.recv(1), "more bytes than a reply has"
        raise Closed
    except socket.timeout:
        pass


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)
