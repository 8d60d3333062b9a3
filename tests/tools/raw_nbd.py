# SPDX-License-Identifier: MIT
"""NBD byte by byte, for tests that must send what no library would.

Errors come back as values; nothing is retried. Numbers are the protocol's
(proto.md of the NBD project).
"""
import socket
import struct

SECTOR, KIB, MIB = 512, 1 << 10, 1 << 20
NBDMAGIC, IHAVEOPT, OPTION_REPLY = b"NBDMAGIC", b"IHAVEOPT", 0x3e889045565a9
REQUEST, SIMPLE, STRUCTURED = 0x25609513, 0x67446698, 0x668e33ef
REQUEST_EXT, CHUNK_EXT = 0x21e41c71, 0x6e8a278c

FIXED_NEWSTYLE, NO_ZEROES = 1, 2
(OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_PEEK, OPT_STARTTLS, OPT_INFO, OPT_GO, OPT_STRUCTURED,
 OPT_LIST_META, OPT_SET_META, OPT_EXTENDED) = range(1, 12)
REP_ACK, REP_SERVER, REP_INFO, REP_META = 1, 2, 3, 4
(ERR_UNSUP, ERR_POLICY, ERR_INVALID, ERR_PLATFORM, ERR_TLS_REQD, ERR_UNKNOWN, ERR_SHUTDOWN,
 ERR_BLOCK_SIZE_REQD, ERR_TOO_BIG, ERR_EXT_HEADER_REQD) = range((1 << 31) + 1, (1 << 31) + 11)
INFO_EXPORT, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE = range(4)

(HAS_FLAGS, READ_ONLY, SEND_FLUSH, SEND_FUA, ROTATIONAL, SEND_TRIM, SEND_WRITE_ZEROES, SEND_DF,
 CAN_MULTI_CONN, SEND_RESIZE, SEND_CACHE, SEND_FAST_ZERO,
 STATUS_PAYLOAD) = (1 << bit for bit in range(13))

READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO, PAYLOAD_LEN = 1, 2, 4, 8, 16, 32
CHUNK_NONE, CHUNK_DATA, CHUNK_HOLE, CHUNK_STATUS, CHUNK_STATUS_EXT = 0, 1, 2, 5, 6
CHUNK_ERROR, CHUNK_ERROR_OFFSET = (1 << 15) + 1, (1 << 15) + 2
CHUNK_DONE = 1
EPERM, EIO, ENOMEM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP, ESHUTDOWN = 1, 5, 12, 22, 28, 75, 95, 108


class Closed(Exception):
    """The server has closed the connection."""


class Reply:
    """What came back for one request."""

    def __init__(self, cookie):
        self.cookie = cookie
        self.error = 0
        self.simple = False
        self.chunks = []  # of a structured reply: (type, payload)
        self.data = b""  # of a simple one


def connect(address):
    connection = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(address)
    return connection


class Client:
    """A connection. @address: of the server, or a socket that is connected to it. @go: choose
    that export, else stay where the options are."""

    def __init__(self, address, go=None, structured=False, contexts=(), flags=3, extended=False):
        self.socket = address if isinstance(address, socket.socket) else connect(address)
        self.socket.settimeout(20)
        self.structured = self.extended = False
        self.offsets = {}  # of extended requests, by cookie
        self.size = self.flags = None
        self.sent = []  # all of it, in pieces, for those who want to record a conversation
        self.contexts = {}
        greeting = self.take(18)
        assert greeting[:16] == NBDMAGIC + IHAVEOPT, greeting
        self.handshake_flags = struct.unpack(">H", greeting[16:])[0]
        if flags is not None:
            self.send(struct.pack(">I", flags))
        if go is not None:
            if extended:
                self.negotiate_extended()
            elif structured or contexts:
                self.negotiate_structured()
            if contexts:
                self.select(go, *contexts)
            self.go(go)

    # ---- bytes ----

    def send(self, data):
        self.sent.append(data)
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error

    def take(self, count):
        data = bytearray(count)
        left = memoryview(data)
        while left:
            try:
                received = self.socket.recv_into(left)
            except ConnectionResetError as error:
                raise Closed from error
            if not received:
                raise Closed
            left = left[received:]
        return bytes(data)

    def is_closed(self):
        """Waits for the end of the stream; what comes before it is dropped."""
        try:
            while self.take(1):
                pass
        except Closed:
            return True
        except socket.timeout:
            return False

    def close(self):
        self.socket.close()

    # ---- options ----

    def option(self, number, data=b"", magic=IHAVEOPT, length=None):
        self.send(magic + struct.pack(">II", number, len(data) if length is None else length)
                  + data)

    def option_reply(self, number):
        magic, option, kind, length = struct.unpack(">QIII", self.take(20))
        assert magic == OPTION_REPLY, "a reply to an option with magic %#x" % magic
        assert option == number, "a reply to option %d instead of %d" % (option, number)
        return kind, self.take(length)

    def answers(self, number):
        replies = []
        while not replies or (replies[-1][0] != REP_ACK and replies[-1][0] < 1 << 31):
            replies.append(self.option_reply(number))
        return replies

    def ask(self, number, data=b""):
        """All replies to an option: pairs of type and data."""
        self.option(number, data)
        return self.answers(number)

    def result(self, number, data=b""):
        """The type of the last reply."""
        return self.ask(number, data)[-1][0]

    def negotiate_structured(self):
        assert self.result(OPT_STRUCTURED) == REP_ACK
        self.structured = True

    def negotiate_extended(self):
        assert self.result(OPT_EXTENDED) == REP_ACK
        self.structured = self.extended = True

    def select(self, name, *contexts):
        """SET_META_CONTEXT; self.contexts is what the server selected, name to id."""
        replies = self.ask(OPT_SET_META, meta_data(name, *contexts))
        assert replies[-1][0] == REP_ACK, replies
        self.contexts = {data[4:].decode(): struct.unpack(">I", data[:4])[0]
                         for _, data in replies[:-1]}

    def infos(self, option, name, *wanted):
        """INFO or GO: information by its type."""
        replies = self.ask(option, info_data(name, *wanted))
        assert replies[-1][0] == REP_ACK, replies
        return {struct.unpack(">H", data[:2])[0]: data[2:] for _, data in replies[:-1]}

    def go(self, name, *wanted):
        infos = self.infos(OPT_GO, name, *wanted)
        self.size, self.flags = struct.unpack(">QH", infos[INFO_EXPORT])

    # ---- requests ----

    def request(self, command, offset=0, length=0, flags=0, cookie=1, payload=None, magic=REQUEST):
        if payload is None:
            payload = bytes(length) if command == WRITE else b""
        if self.extended:
            if command == WRITE:
                flags |= PAYLOAD_LEN
            self.request_extended(command, offset, length, flags, cookie, payload)
            return
        self.send(struct.pack(">IHHQQI", magic, flags, command, cookie, offset, length) + payload)

    def request_extended(self, command, offset=0, length=0, flags=0, cookie=1, payload=b""):
        """As it is, also where @flags and @payload do not belong together."""
        self.offsets.setdefault(cookie, set()).add(offset)
        self.send(struct.pack(">IHHQQQ", REQUEST_EXT, flags, command, cookie, offset, length)
                  + payload)

    def chunk(self):
        """The next piece of a reply: (cookie, flags, type, payload); a simple one: type None."""
        magic = struct.unpack(">I", self.take(4))[0]
        assert self.extended == (magic == CHUNK_EXT), "a reply of the wrong kind: %#x" % magic
        if magic == CHUNK_EXT:
            flags, kind, cookie, offset, size = struct.unpack(">HHQQQ", self.take(28))
            assert flags & ~CHUNK_DONE == 0, "flags %#x of a chunk" % flags
            assert offset in self.offsets[cookie], "the offset of another request: %#x" % offset
            assert size <= (32 << 20) + 8, "a chunk of %d bytes" % size
            return cookie, flags, kind, self.take(size)
        if magic == SIMPLE:
            error, cookie = struct.unpack(">IQ", self.take(12))
            return cookie, CHUNK_DONE, None, error
        assert magic == STRUCTURED, "a reply with magic %#x" % magic
        assert self.structured, "a structured reply nobody asked for"
        flags, kind, cookie, size = struct.unpack(">HHQI", self.take(16))
        assert flags & ~CHUNK_DONE == 0, "flags %#x of a chunk" % flags
        return cookie, flags, kind, self.take(size)

    def reply(self, data_bytes=0):
        """One whole reply, when nothing else is in flight; @data_bytes: of a simple READ."""
        reply, flags = None, 0
        while not flags & CHUNK_DONE:
            cookie, flags, kind, payload = self.chunk()
            reply = reply or Reply(cookie)
            assert cookie == reply.cookie, "replies of two requests mixed up"
            if kind is None:
                reply.simple, reply.error = True, payload
                if not payload:
                    reply.data = self.take(data_bytes)
                return reply
            if kind >> 15:
                reply.error, text_bytes = struct.unpack(">IH", payload[:6])
                assert reply.error, "an error chunk that says success"
                assert len(payload) >= 6 + text_bytes, "an error chunk shorter than its message"
            reply.chunks.append((kind, payload))
        return reply

    def do(self, command, offset=0, length=0, flags=0, cookie=1, payload=None):
        """A request and its reply."""
        self.request(command, offset, length, flags, cookie, payload)
        reply = self.reply(length if command == READ and not self.structured else 0)
        assert reply.cookie == cookie, "cookie %#x came back as %#x" % (cookie, reply.cookie)
        return reply

    def read(self, offset, length, flags=0):
        """The bytes of a READ that succeeds, put together from its chunks."""
        reply = self.do(READ, offset, length, flags)
        assert reply.error == 0, reply.error
        return assemble(reply, offset, length) if self.structured else reply.data

    def status(self, offset, length, flags=0):
        """BLOCK_STATUS: lists of (length, state) by context name."""
        reply = self.do(STATUS, offset, length, flags)
        assert reply.error == 0, reply.error
        names = {number: name for name, number in self.contexts.items()}
        found = {}
        for kind, payload in reply.chunks:
            name = names[struct.unpack(">I", payload[:4])[0]]
            assert name not in found
            found[name] = extents(self.extended, kind, payload)
        return found


def extents(extended, kind, payload):
    """The content of a chunk of block status: a list of (length, state)."""
    if not extended:
        assert kind == CHUNK_STATUS and len(payload) % 8 == 4 and len(payload) > 4
        return list(struct.iter_unpack(">II", payload[4:]))
    assert kind == CHUNK_STATUS_EXT and len(payload) > 8
    assert len(payload) == 8 + 16 * struct.unpack(">I", payload[4:8])[0]
    found = list(struct.iter_unpack(">QQ", payload[8:]))
    assert all(state < 1 << 32 for _, state in found), "more than 32 bits of state"
    return found


def assemble(reply, offset, length):
    data, left = bytearray(length), length
    seen = bytearray(length // SECTOR or 1)
    for kind, payload in reply.chunks:
        if kind == CHUNK_NONE and not payload:
            continue
        at = struct.unpack(">Q", payload[:8])[0] - offset
        if kind == CHUNK_DATA:
            size, content = len(payload) - 8, payload[8:]
        else:
            assert kind == CHUNK_HOLE and len(payload) == 12, (kind, len(payload))
            size = struct.unpack(">I", payload[8:])[0]
            content = bytes(size)
        assert size > 0 and 0 <= at and at + size <= length, "a chunk outside the request"
        first, end = at // SECTOR, (at + size) // SECTOR
        assert not any(seen[first:end]), "chunks overlap"
        seen[first:end] = b"\1" * (end - first)
        data[at:at + size] = content
        left -= size
    assert left == 0, "%d bytes are missing" % left
    return bytes(data)


def info_data(name, *wanted):
    name = name.encode() if isinstance(name, str) else name
    return (struct.pack(">I", len(name)) + name + struct.pack(">H", len(wanted))
            + b"".join(struct.pack(">H", number) for number in wanted))


def meta_data(name, *queries):
    name = name.encode() if isinstance(name, str) else name
    data = struct.pack(">I", len(name)) + name + struct.pack(">I", len(queries))
    for query in queries:
        query = query.encode() if isinstance(query, str) else query
        data += struct.pack(">I", len(query)) + query
    return data
