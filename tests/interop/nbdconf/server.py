# SPDX-License-Identifier: MIT
"""The server that is looked at: how to reach it, and what it says of itself.

What it says is asked for when a row first needs it, so that a server which cannot even
say that fails the rows that need it and no others.
"""
import functools
import socket
import struct
import time
from urllib.parse import parse_qs, unquote, urlsplit

from raw_nbd import *  # noqa: F403  one vocabulary, as in the protocol's text
from .rows import Lacking, NotApplicable

PORT = 10809
ALLOCATION = "base:allocation"
NO_SUCH_NAME = "nbd-conformance: no export is called so"
RESTART_S = 2  # a server that died may have somebody who starts it again
ERRORS = {0: "success", EPERM: "EPERM", EIO: "EIO", ENOMEM: "ENOMEM", EINVAL: "EINVAL",
          ENOSPC: "ENOSPC", EOVERFLOW: "EOVERFLOW", ENOTSUP: "ENOTSUP", ESHUTDOWN: "ESHUTDOWN"}
OPTION_ERRORS = {ERR_UNSUP: "ERR_UNSUP", ERR_POLICY: "ERR_POLICY", ERR_INVALID: "ERR_INVALID",
                 ERR_PLATFORM: "ERR_PLATFORM", ERR_TLS_REQD: "ERR_TLS_REQD",
                 ERR_UNKNOWN: "ERR_UNKNOWN", ERR_SHUTDOWN: "ERR_SHUTDOWN",
                 ERR_BLOCK_SIZE_REQD: "ERR_BLOCK_SIZE_REQD", ERR_TOO_BIG: "ERR_TOO_BIG",
                 ERR_EXT_HEADER_REQD: "ERR_EXT_HEADER_REQD", REP_ACK: "ACK"}


class Gone(Exception):
    """Nobody listens there."""


class BadUri(Exception):
    """Not an address of an NBD server."""


def parse_uri(uri):
    """The socket's address, and the name of the export."""
    parts = urlsplit(uri)
    name = unquote(parts.path[1:])
    if parts.scheme == "nbd+unix":
        path = parse_qs(parts.query).get("socket")
        if not path:
            raise BadUri("%s: no ?socket=PATH in it" % uri)
        return path[0], name
    try:
        port = parts.port or PORT
    except ValueError as error:
        raise BadUri("%s: %s" % (uri, error)) from error
    if parts.scheme != "nbd" or not parts.hostname:
        raise BadUri("%s: neither nbd://HOST[:PORT]/EXPORT nor nbd+unix:///EXPORT?socket=PATH"
                     % uri)
    return (parts.hostname, port), name


class Server:
    """@patience_s: how long a server may take to end a connection that it has to end."""

    def __init__(self, uri, patience_s):
        self.address, self.name = parse_uri(uri)
        self.patience_s = patience_s
        self.sockets = []  # of the row that is running

    # ---- connections ----

    def connect(self):
        until = time.monotonic() + RESTART_S
        while True:
            try:
                return self.connect_once()
            except (ConnectionRefusedError, FileNotFoundError, socket.gaierror) as error:
                if time.monotonic() > until:
                    raise Gone("%s: %s" % (self.address, error)) from error
                time.sleep(0.05)

    def connect_once(self):
        if isinstance(self.address, tuple):
            connection = socket.create_connection(self.address)
        else:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(self.address)
        self.sockets.append(connection)
        return connection

    def hang_up(self):
        """Ends the connections of a row."""
        for connection in self.sockets:
            connection.close()
        self.sockets.clear()

    def shake(self, flags=FIXED_NEWSTYLE | NO_ZEROES):
        """A client that has still to choose options. @flags: None says nothing at all."""
        until = time.monotonic() + RESTART_S
        while True:
            try:
                return Client(self.connect(), flags=flags)
            except Closed:  # without a greeting, as by a server that is dying
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def negotiate(self, structured=False, extended=False):
        """Such a client, with what the server has to offer for that."""
        client = self.shake()
        if extended:
            self.accept(client, OPT_EXTENDED, "extended headers")
            client.structured = client.extended = True
        elif structured:
            self.accept(client, OPT_STRUCTURED, "structured replies")
            client.structured = True
        return client

    @staticmethod
    def accept(client, option, what):
        if client.result(option) != REP_ACK:
            raise Lacking("no %s" % what)

    def serve(self, structured=False, extended=False, contexts=()):
        """A client in the transmission phase, with all of the contexts."""
        client = self.negotiate(structured or bool(contexts), extended)
        if contexts:
            self.select(client, contexts)
        self.enter(client)
        return client

    def select(self, client, contexts):
        replies = client.ask(OPT_SET_META, meta_data(self.name, *contexts))
        if replies[-1][0] == ERR_UNSUP:
            raise Lacking("no metadata contexts")
        assert replies[-1][0] == REP_ACK, option_error(replies[-1][0])
        client.contexts = {data[4:].decode(): struct.unpack(">I", data[:4])[0]
                           for _, data in replies[:-1]}
        if set(contexts) - set(client.contexts):
            raise Lacking("no " + ", ".join(sorted(set(contexts) - set(client.contexts))))

    def enter(self, client):
        """GO, or EXPORT_NAME where the server knows no GO."""
        replies = client.ask(OPT_GO, info_data(self.name, INFO_BLOCK_SIZE))
        if replies[-1][0] == ERR_UNSUP:
            client.option(OPT_EXPORT_NAME, self.name.encode())
            client.size, client.flags = struct.unpack(">QH", client.take(10))
            return
        client.size, client.flags = struct.unpack(">QH", infos_of(replies)[INFO_EXPORT])

    def kinds(self, contexts=()):
        """A client of each kind that the server has: simple, structured and extended replies."""
        yield self.serve()
        for kind in self.kind_names()[1:]:
            yield self.serve(contexts=tuple(set(contexts) & set(self.contexts)), **kind)

    def kind_names(self):
        """What serve() and negotiate() take for each kind of reply, simple ones first."""
        return [{}] + [{kind: True} for kind in ("structured", "extended")
                       if getattr(self, "has_" + kind)]

    # ---- what it says of itself ----

    def offers(self, option):
        client = self.shake()
        found = client.result(option) == REP_ACK
        client.close()
        return found

    @functools.cached_property
    def has_structured(self):
        return self.offers(OPT_STRUCTURED)

    @functools.cached_property
    def has_extended(self):
        return self.offers(OPT_EXTENDED)

    @functools.cached_property
    def refuses_tls(self):
        return not self.offers(OPT_STARTTLS)

    @functools.cached_property
    def infos(self):
        """What INFO tells, by type, all types asked for."""
        return infos_of(self.shake().ask(OPT_INFO, info_data(
            self.name, INFO_EXPORT, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE)))

    @functools.cached_property
    def entered(self):
        """Size and flags with simple replies."""
        client = self.serve()
        return client.size, client.flags

    @property
    def size(self):
        return self.entered[0]

    @property
    def flags(self):
        return self.entered[1]

    @functools.cached_property
    def sizes(self):
        """Minimum block, preferred block, largest payload; None when not told."""
        told = self.infos.get(INFO_BLOCK_SIZE)
        return struct.unpack(">III", told) if told else None

    @property
    def min_block(self):
        return self.sizes[0] if self.sizes else 1

    @property
    def max_payload(self):
        return self.sizes[2] if self.sizes else 32 * MIB

    @property
    def unit(self):
        """What every server allows requests to be multiples of."""
        return max(self.min_block, SECTOR)

    @functools.cached_property
    def exports(self):
        """LIST: names to descriptions; empty where the server does not tell."""
        replies = self.shake().ask(OPT_LIST)
        return dict(map(listed_export, replies[:-1]))

    @functools.cached_property
    def contexts(self):
        """All names that LIST_META_CONTEXT tells."""
        if not self.has_structured and not self.has_extended:
            return ()
        client = self.negotiate(structured=self.has_structured, extended=not self.has_structured)
        replies = client.ask(OPT_LIST_META, meta_data(self.name))
        return tuple(data[4:].decode() for _, data in replies[:-1])

    @functools.cached_property
    def takes_any_name(self):
        return self.shake().result(OPT_INFO, info_data(NO_SUCH_NAME)) == REP_ACK

    def unfit(self):
        """Why it is of no use to look at it, or None."""
        if self.shake().result(99) == ERR_TLS_REQD:
            return "the server insists on TLS"
        if self.size < max(MIB, 256 * self.unit):
            return "the export has %d bytes, and %d are needed" % (
                self.size, max(MIB, 256 * self.unit))
        return None

    # ---- what a row needs ----

    def needs(self, flag, name):
        if not self.flags & flag:
            raise Lacking("%s is not set" % name)

    def needs_writes(self):
        if self.flags & READ_ONLY:
            raise NotApplicable("the export is read-only")

    def needs_other_names(self):
        if self.takes_any_name:
            raise NotApplicable("any name will do")

    def needs_contexts(self):
        if not self.contexts:
            raise Lacking("no metadata contexts")


def listed_export(reply):
    kind, data = reply
    assert kind == REP_SERVER, "a reply of type %d in a list" % kind
    size = struct.unpack(">I", data[:4])[0]
    assert 4 + size <= len(data), "a name longer than its reply"
    return data[4:4 + size], data[4 + size:]


def infos_of(replies):
    """The information in replies to INFO or GO, by type."""
    assert replies[-1][0] == REP_ACK, option_error(replies[-1][0])
    found = {}
    for kind, data in replies[:-1]:
        assert kind == REP_INFO, "a reply of type %d" % kind
        found[struct.unpack(">H", data[:2])[0]] = data[2:]
    return found


def option_error(kind):
    return OPTION_ERRORS.get(kind, "reply type %#x" % kind)


def error_name(error):
    return ERRORS.get(error, "error %d" % error)
