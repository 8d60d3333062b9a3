#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An NBD client without manners: breaks the protocol in each place, over and over.

    bad_requests.py SOCKET

After each case an ordinary client must find the server as before. Wants an
export "" that nobody else uses; its first MiB is overwritten.
"""
import random
import socket
import struct
import sys
import time

SECTOR = 512
MIB = 1 << 20
NBDMAGIC, IHAVEOPT, OPTION_REPLY = b"NBDMAGIC", b"IHAVEOPT", 0x3e889045565a9
REQUEST, SIMPLE, STRUCTURED = 0x25609513, 0x67446698, 0x668e33ef
OPT_EXPORT_NAME, OPT_ABORT, OPT_LIST, OPT_INFO, OPT_GO = 1, 2, 3, 6, 7
OPT_STARTTLS, OPT_STRUCTURED, OPT_LIST_META, OPT_SET_META = 5, 8, 9, 10
REP_ACK, REP_ERR = 1, 1 << 31
REP_ERR_UNSUP, REP_ERR_INVALID, REP_ERR_UNKNOWN = REP_ERR + 1, REP_ERR + 3, REP_ERR + 6
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS = range(8)
FUA, NO_HOLE, DF, REQ_ONE, FAST_ZERO = 1, 2, 4, 8, 16
EPERM, EIO, EINVAL, ENOSPC, ENOTSUP = 1, 5, 22, 28, 95


class Closed(Exception):
    """The server has closed the connection."""


class Client:
    def __init__(self, path, go=True, structured=False):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(20)
        self.socket.connect(path)
        greeting = self.take(18)
        assert greeting[:16] == NBDMAGIC + IHAVEOPT, greeting
        self.flags = struct.unpack(">H", greeting[16:])[0]
        self.cookie = 0
        self.structured = structured
        if go:
            self.send(struct.pack(">I", 3))
            if structured:
                assert self.ask(OPT_STRUCTURED)[-1][0] == REP_ACK
            replies = self.ask(OPT_GO, name_data(b""))
            assert replies[-1][0] == REP_ACK, replies
            self.size = next(struct.unpack(">Q", data[2:10])[0] for kind, data in replies
                             if kind == 3 and data[:2] == b"\0\0")

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed from error

    def take(self, count):
        data = bytearray()
        while len(data) < count:
            try:
                piece = self.socket.recv(count - len(data))
            except ConnectionResetError as error:
                raise Closed from error
            if not piece:
                raise Closed
            data += piece
        return bytes(data)

    def option(self, number, data=b"", magic=IHAVEOPT, length=None):
        self.send(magic + struct.pack(">II", number, len(data) if length is None else length)
                  + data)

    def option_reply(self, number):
        magic, option, kind, length = struct.unpack(">QIII", self.take(20))
        assert magic == OPTION_REPLY and option == number, (hex(magic), option)
        return kind, self.take(length)

    def ask(self, number, data=b""):
        """All replies to an option: pairs of type and data."""
        self.option(number, data)
        replies = []
        while not replies or (replies[-1][0] != REP_ACK and replies[-1][0] < REP_ERR):
            replies.append(self.option_reply(number))
        return replies

    def request(self, command, offset=0, length=0, flags=0, magic=REQUEST, payload=b""):
        self.cookie += 1
        self.send(struct.pack(">IHHQQI", magic, flags, command, self.cookie, offset, length)
                  + payload)

    def reply(self, length=0):
        """The error of the request sent last, 0 if none; takes the data of a READ."""
        error, done = 0, 0
        while not done & 1:
            magic = struct.unpack(">I", self.take(4))[0]
            if magic == SIMPLE:
                error, cookie = struct.unpack(">IQ", self.take(12))
                assert cookie == self.cookie, cookie
                if not error:
                    assert not (self.structured and length)
                    self.take(length)
                return error
            done, kind, cookie, size = struct.unpack(">HHQI", self.take(16))
            assert magic == STRUCTURED and self.structured, hex(magic)
            assert cookie == self.cookie, cookie
            data = self.take(size)
            if kind & 1 << 15:
                error = struct.unpack(">I", data[:4])[0]
        return error

    def expect(self, error, command, offset=0, length=0, flags=0):
        payload = bytes(length) if command == WRITE else b""
        self.request(command, offset, length, flags, payload=payload)
        got = self.reply(length if command == READ else 0)
        assert got == error, ("error %d, not %d: command %d, flags %d, offset %d, length %d"
                              % (got, error, command, flags, offset, length))

    def expect_closed(self):
        try:
            while self.take(1):
                pass
        except Closed:
            pass

    def close(self):
        self.socket.close()


def name_data(name, requests=b"\0\0"):
    return struct.pack(">I", len(name)) + name + requests


def meta_data(name, *queries):
    data = struct.pack(">I", len(name)) + name + struct.pack(">I", len(queries))
    return data + b"".join(struct.pack(">I", len(query)) + query for query in queries)


# ---- requests that get an error, and the connection goes on ---------------------------

def judged(path):
    for structured in False, True:
        client = Client(path, structured=structured)
        size = client.size
        expect = client.expect
        for command in READ, WRITE, TRIM, ZEROES, CACHE:
            past = ENOSPC if command in (WRITE, ZEROES) else EINVAL
            expect(EINVAL, command, 1, SECTOR)
            expect(EINVAL, command, 0, SECTOR - 1)
            expect(EINVAL, command, 511, 1)
            expect(past, command, size, SECTOR)
            expect(past, command, size - SECTOR, 2 * SECTOR)
            expect(past, command, (1 << 64) - SECTOR, SECTOR)
            expect(past, command, 1 << 63, SECTOR)
            expect(EINVAL, command, 0, SECTOR, flags=1 << 15)
            expect(0, command, size - SECTOR, SECTOR)
            expect(0, command, 0, SECTOR, flags=FUA)
            expect(0, command, 0, 0)
        for command, flags in ((READ, NO_HOLE), (WRITE, DF), (TRIM, FAST_ZERO), (CACHE, REQ_ONE),
                               (READ, REQ_ONE), (WRITE, NO_HOLE), (FLUSH, DF)):
            expect(EINVAL, command, 0, 0 if command == FLUSH else SECTOR, flags=flags)
        expect(0 if structured else EINVAL, READ, 0, SECTOR, flags=DF)
        expect(ENOTSUP, ZEROES, 0, SECTOR, flags=FAST_ZERO | NO_HOLE)
        expect(EINVAL, FLUSH, 512, 0)
        expect(EINVAL, FLUSH, 0, 512)
        expect(0, FLUSH)
        expect(EINVAL, STATUS, 0, SECTOR)  # no context was chosen
        for command in 8, 9, 255, 65535:
            expect(EINVAL, command, 0, SECTOR)
        expect(EINVAL, READ, 0, 33 * MIB)
        expect(EINVAL, READ, 0, 0xfffffe00)
        expect(EINVAL, WRITE, 0, 33 * MIB)
        expect(0, READ, 0, 32 * MIB)
        expect(0, WRITE, 0, 32 * MIB)
        expect(ENOSPC, WRITE, size - MIB, 2 * MIB)
        client.request(DISC)
        client.expect_closed()


def write_of_65_mib(path):
    """Longer than what is swallowed: closed at once, or an error; the stream stays in step."""
    client = Client(path)
    try:
        client.request(WRITE, 0, 65 * MIB)
        client.send(bytes(65 * MIB))
        assert client.reply() == EINVAL
        client.expect(0, READ, 0, SECTOR)
    except Closed:
        pass


# ---- what breaks the stream: the connection is closed ------------------------------------

def wrong_request_magic(path):
    client = Client(path)
    client.request(READ, 0, SECTOR, magic=0x12345678)
    client.expect_closed()


def garbage(path):
    noise = random.Random(1)
    for size in 1, 16, 28, 1000, 100000:
        for go in False, True:
            client = Client(path, go=go)
            try:
                client.send(b"\xff" + noise.randbytes(size - 1))
                client.socket.shutdown(socket.SHUT_WR)
                client.expect_closed()
            except Closed:
                pass


def half_things(path):
    """Each prefix of an ordinary conversation, then silence and the end."""
    talk = struct.pack(">I", 3) + IHAVEOPT + struct.pack(">II", OPT_GO, 6) + name_data(b"")
    request = struct.pack(">IHHQQI", REQUEST, 0, WRITE, 1, 0, SECTOR) + bytes(SECTOR)
    for size in list(range(len(talk))) + [len(talk) + n for n in (1, 27, 28, 29, 300, 539)]:
        client = Client(path, go=False)
        client.send((talk + request)[:size])
        client.close()


def gone_before_the_reply(path):
    for command, length in (READ, 32 * MIB), (WRITE, 4 * MIB), (FLUSH, 0), (STATUS, SECTOR):
        for _ in range(8):
            client = Client(path)
            client.request(command, 0, length, payload=bytes(length if command == WRITE else 0))
            client.close()


def never_reads(path):
    """Asks for far more than the sockets hold, reads nothing, and leaves."""
    client = Client(path)
    client.socket.settimeout(0.5)
    try:
        for _ in range(200):
            client.request(READ, 0, MIB)
    except (socket.timeout, Closed):
        pass
    time.sleep(0.2)
    client.close()


# ---- the handshake --------------------------------------------------------------------------

def request_before_go(path):
    client = Client(path, go=False)
    client.send(struct.pack(">I", 3))
    try:
        client.request(READ, 0, SECTOR)
        client.expect_closed()
    except Closed:
        pass


def unknown_client_flags(path):
    client = Client(path, go=False)
    client.send(struct.pack(">I", 0x80))
    client.expect_closed()


def odd_options(path):
    client = Client(path, go=False)
    client.send(struct.pack(">I", 3))
    long_name = b"n" * 4096
    assert client.ask(99)[0][0] == REP_ERR_UNSUP
    assert client.ask(0xffffffff, b"x" * 100)[0][0] == REP_ERR_UNSUP
    assert client.ask(OPT_STARTTLS)[0][0] >= REP_ERR
    assert client.ask(OPT_LIST, b"x")[0][0] == REP_ERR_INVALID
    assert client.ask(OPT_STRUCTURED, b"x")[0][0] == REP_ERR_INVALID
    for option in OPT_INFO, OPT_GO:
        assert client.ask(option)[0][0] == REP_ERR_INVALID
        assert client.ask(option, b"\0\0\0\1")[0][0] == REP_ERR_INVALID
        assert client.ask(option, struct.pack(">I", 0xffffffff) + b"ab")[0][0] == REP_ERR_INVALID
        assert client.ask(option, name_data(b"", b"\0\5\0\0"))[0][0] == REP_ERR_INVALID
        assert client.ask(option, name_data(b"nobody"))[0][0] == REP_ERR_UNKNOWN
        assert client.ask(option, name_data(long_name))[0][0] == REP_ERR_UNKNOWN
        assert client.ask(option, name_data(long_name + b"n"))[0][0] >= REP_ERR
        assert client.ask(option, name_data(b"\xff\xfe\0"))[0][0] >= REP_ERR
    # Contexts want structured replies first.
    assert client.ask(OPT_SET_META, meta_data(b"", b"base:allocation"))[0][0] == REP_ERR_INVALID
    assert client.ask(OPT_STRUCTURED)[0][0] == REP_ACK
    for option in OPT_LIST_META, OPT_SET_META:
        assert client.ask(option, b"")[0][0] == REP_ERR_INVALID
        assert client.ask(option, meta_data(b"nobody", b"base:"))[0][0] == REP_ERR_UNKNOWN
        assert client.ask(option, meta_data(b"", b"q" * 4096))[-1][0] == REP_ACK
        assert client.ask(option, meta_data(b"", b"base:allocation") + b"x")[0][0] == REP_ERR_INVALID
        assert client.ask(option, struct.pack(">II", 0, 0xffffffff))[0][0] >= REP_ERR
    # After all that the same connection still works.
    assert client.ask(OPT_GO, name_data(b""))[-1][0] == REP_ACK
    client.structured = True
    client.expect(0, READ, 0, SECTOR)


def long_options(path):
    client = Client(path, go=False)
    client.send(struct.pack(">I", 3))
    assert client.ask(OPT_GO, bytes(100 << 10))[0][0] >= REP_ERR  # skipped
    assert client.ask(OPT_LIST)[-1][0] == REP_ACK
    try:
        client.option(OPT_GO, b"", length=0xffffffff)
        client.expect_closed()
    except Closed:
        pass


def many_options(path):
    client = Client(path, go=False)
    client.send(struct.pack(">I", 3))
    try:
        for _ in range(100000):
            client.ask(OPT_LIST)
        raise AssertionError("options without end")
    except Closed:
        pass


def wrong_option_magic(path):
    client = Client(path, go=False)
    client.send(struct.pack(">I", 3))
    client.option(OPT_LIST, magic=b"IHAVENOT")
    client.expect_closed()


def old_export_name(path):
    client = Client(path, go=False)
    client.send(struct.pack(">I", 1))
    client.option(OPT_EXPORT_NAME, b"")
    assert len(client.take(134)) == 134
    client.expect(0, READ, 0, SECTOR)
    client = Client(path, go=False)
    client.send(struct.pack(">I", 3))
    client.option(OPT_EXPORT_NAME, b"n" * 4096)
    client.expect_closed()
    client = Client(path, go=False)
    client.send(struct.pack(">I", 3))
    assert client.ask(OPT_ABORT)[-1][0] == REP_ACK
    client.expect_closed()


def many_connections(path):
    """More than there are places for: some may be refused, none does harm."""
    clients = []
    for _ in range(300):
        try:
            clients.append(Client(path, go=False))
        except (Closed, ConnectionError):
            pass
    assert clients
    for client in clients:
        client.close()


CASES = (judged, write_of_65_mib, wrong_request_magic, garbage, half_things,
         gone_before_the_reply, never_reads, request_before_go, unknown_client_flags, odd_options,
         long_options, many_options, wrong_option_magic, old_export_name, many_connections)


def still_serves(path):
    mark = struct.pack(">Q", time.monotonic_ns()) * (4096 // 8)
    end = time.monotonic() + 15
    while True:
        try:
            client = Client(path)
            break
        except (Closed, ConnectionError):
            # The places of those who left come free a moment later.
            assert time.monotonic() < end, "no connection for 15 s"
            time.sleep(0.05)
    client.request(WRITE, 0, len(mark), payload=mark)
    assert client.reply() == 0
    client.request(READ, 0, len(mark))
    assert struct.unpack(">IIQ", client.take(16))[1] == 0
    assert client.take(len(mark)) == mark
    client.request(DISC)
    client.close()


def main():
    path = sys.argv[1]
    for case in CASES:
        began = time.monotonic()
        case(path)
        still_serves(path)
        print("- %s (%.1f s)" % (case.__name__.replace("_", " "), time.monotonic() - began),
              flush=True)


main()
