#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The mistakes that other NBD servers were given CVE numbers for, tried on this one.

    cves.py SOCKET PID SEED

SOCKET: of the daemon PID, which serves an empty disk of 4 TiB as "". After each case the
daemon must live, and serve a client that came before all of them and a new one. Prints a
line per case: what docs/security.md says is tested.
"""
import os
import random
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tools"))
from raw_nbd import *  # noqa: F403,E402  one vocabulary, as in the protocol's text

TIB = 1 << 40


def resident_kib(pid):
    with open("/proc/%d/status" % pid, encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def plain_socket(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(path)
    return sock


def expect_closed_or_errors(client, number):
    """The server may hang up or refuse, and nothing else."""
    try:
        assert client.answers(number)[-1][0] >= 1 << 31
    except Closed:
        pass


# ---- the cases: each takes the socket's path and the daemon's pid --------------------------


def lengths_of_requests(path, _pid):
    """CVE-2005-3534, CVE-2011-0530: a length that the buffer is too small for."""
    for structured in False, True:
        for length in (1 << 32) - 1, (1 << 32) - 512, (1 << 32) - 28, (32 << 20) + 512, 1 << 31:
            client = Client(path, go="", structured=structured)
            client.request(READ, 0, length)
            assert client.reply().error in (EINVAL, EOVERFLOW), length
            # As if that much came: what does come is not taken for requests for long.
            try:
                client.request(WRITE, 0, length, payload=bytes(64 << 10))
                client.socket.shutdown(socket.SHUT_WR)
                assert client.reply().error in (EINVAL, EOVERFLOW)
            except (Closed, OSError):
                pass
            client.close()


def handshake_cut_anywhere(path, _pid):
    """CVE-2011-1925, CVE-2013-7441: an unknown export, and going away while negotiating."""
    client = Client(path)
    client.option(OPT_EXPORT_NAME, b"no such export")
    assert client.is_closed()
    client = Client(path)
    assert client.result(OPT_GO, info_data("no such export")) == ERR_UNKNOWN
    client.option(OPT_ABORT)
    client.close()
    whole = (struct.pack(">I", 3)
             + IHAVEOPT + struct.pack(">II", OPT_STRUCTURED, 0)
             + IHAVEOPT + struct.pack(">II", OPT_LIST, 0)
             + IHAVEOPT + struct.pack(">II", OPT_GO, 6) + info_data(""))
    for cut in range(len(whole) + 1):
        for linger in False, True:
            sock = plain_socket(path)
            if linger:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                sock.sendall(whole[:cut])
            except (BrokenPipeError, ConnectionResetError):
                pass
            sock.close()


def signals_while_busy(path, pid):
    """CVE-2015-0847: work in a signal handler."""
    client = Client(path, go="")
    for nr in range(300):
        os.kill(pid, signal.SIGHUP)
        assert client.do(WRITE, nr % 16 * 4096, 4096, cookie=nr).error == 0
        if nr % 30 == 0:
            Client(path).close()


def names_of_any_length(path, pid):
    """CVE-2022-26495, CVE-2022-26496, CVE-2017-15118: a name longer than its buffer."""
    for option in OPT_INFO, OPT_GO:
        for length in (1 << 32) - 1, (1 << 32) - 2, (1 << 32) - 6, 1 << 31, 4097, 256:
            client = Client(path)
            client.option(option, struct.pack(">I", length) + b"a" * 16 + struct.pack(">H", 0))
            expect_closed_or_errors(client, option)
            client.close()
        for length in 254, 255, 256, 257, 1023, 1024, 1025, 4095, 4096, 4097, 8192:
            client = Client(path)
            client.option(option, info_data("a" * length))
            expect_closed_or_errors(client, option)
            client.close()
    for number in OPT_LIST_META, OPT_SET_META:
        for length in (1 << 32) - 1, (1 << 32) - 8, 4097:
            client = Client(path)
            client.negotiate_structured()
            client.option(number, struct.pack(">I", length) + b"a" * 16 + struct.pack(">I", 0))
            expect_closed_or_errors(client, number)
            client = Client(path)
            client.negotiate_structured()
            client.option(number, struct.pack(">I", 0) + struct.pack(">II", 1, length) + b"base:")
            expect_closed_or_errors(client, number)
            client.close()
    before = resident_kib(pid)
    client = Client(path)
    client.option(OPT_EXPORT_NAME, b"a" * 64, length=(1 << 32) - 1)
    assert client.is_closed()
    assert resident_kib(pid) < before + 1024


def what_port_scans_send(path, _pid):
    """CVE-2017-7539, CVE-2017-9524: bytes that are not NBD, and too early ones."""
    rubbish = [b"GET / HTTP/1.0\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
               b"SSH-2.0-x\r\n", b"\0" * 4096, b"\xff" * 4096, b"NBDMAGICIHAVEOPT" * 64,
               struct.pack(">IHHQQI", REQUEST, 0, READ, 1, 0, 4096) * 16]
    rubbish += [random.randbytes(random.randrange(1, 3000)) for _ in range(100)]
    for data in rubbish:
        for flags in None, struct.pack(">I", 3):
            sock = plain_socket(path)
            try:
                # Before the greeting has been read.
                sock.sendall((flags or b"") + data)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
            except (BrokenPipeError, ConnectionResetError):
                pass
            sock.close()


def gone_before_the_reply(path, _pid):
    """CVE-2017-10664: SIGPIPE when a reply has nobody to go to."""
    for nr in range(50):
        client = Client(path, go="", structured=nr % 2 == 0)
        if nr % 3 == 0:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                     struct.pack("ii", 1, 0))
        for cookie in range(20):
            client.request(READ, cookie << 20, 1 << 20, cookie=cookie)
        client.close()


def options_that_never_end(path, pid):
    """CVE-2017-15119: gigabytes read and dropped for one option."""
    before = resident_kib(pid)
    for number in OPT_LIST, OPT_INFO, OPT_GO, OPT_ABORT, OPT_STARTTLS, 0x7fffffff:
        client = Client(path)
        sent, begun = 0, time.monotonic()
        try:
            client.option(number, length=(1 << 32) - 1)
            while sent < 256 << 20:
                client.send(bytes(1 << 16))
                sent += 1 << 16
        except (Closed, socket.timeout):
            pass
        assert sent < 16 << 20, "option %d: %d bytes were taken" % (number, sent)
        assert time.monotonic() < begun + 15
        client.close()
    assert resident_kib(pid) < before + 4096


def answers_to_the_longest_names(path, _pid):
    """CVE-2020-10761: an error text that is longer than texts may be."""
    for option in OPT_INFO, OPT_GO:
        for length in range(4000, 4097, 8):
            client = Client(path)
            kind, text = client.ask(option, info_data("a" * length))[-1]
            assert kind == ERR_UNKNOWN, (length, hex(kind))
            assert len(text) <= 4096
            client.close()
    client = Client(path)
    client.negotiate_structured()
    assert client.result(OPT_SET_META, meta_data("a" * 4096, "base:allocation")) == ERR_UNKNOWN
    replies = client.ask(OPT_LIST_META, meta_data("", *["x-%s:%s" % ("a" * 64, "b" * 64)] * 20))
    assert replies[-1][0] in (REP_ACK, ERR_TOO_BIG)


def expensive_to_connect_to(path, pid):
    """CVE-2019-14850: a backend that is opened before anything was negotiated."""
    # No file is opened for a client: what there is more of is sockets.
    def files():
        names = os.listdir("/proc/%d/fd" % pid)
        return sum(not is_socket(pid, name) for name in names)

    def is_socket(pid, name):
        try:
            return os.readlink("/proc/%d/fd/%s" % (pid, name)).startswith("socket:")
        except FileNotFoundError:
            return True

    before = files()
    clients = [Client(path) for _ in range(20)]
    clients += [Client(path, go="") for _ in range(20)]
    assert files() <= before, (files(), before)
    for client in clients:
        client.close()


def options_in_any_order(path, _pid):
    """CVE-2019-14851: an assertion on the order of options."""
    harmless = [(OPT_STRUCTURED, b""), (OPT_EXTENDED, b""), (OPT_LIST, b""),
                (OPT_INFO, info_data("")), (OPT_INFO, info_data("none")),
                (OPT_LIST_META, meta_data("", "base:")), (OPT_STARTTLS, b""),
                (OPT_SET_META, meta_data("", "base:allocation")), (OPT_PEEK, b""), (99, b"abc"),
                (OPT_SET_META, meta_data("none", "base:allocation")), (OPT_GO, info_data("none"))]
    for _ in range(150):
        client = Client(path)
        for number, data in random.choices(harmless, k=random.randrange(1, 12)):
            client.ask(number, data)
        if random.random() < 0.5:
            assert client.result(OPT_GO, info_data("", INFO_BLOCK_SIZE)) == REP_ACK
        else:
            client.option(OPT_ABORT)
        client.close()


def plain_text_before_tls(path, _pid):
    """CVE-2021-3716: what came before STARTTLS counts after it. (There is no TLS: it is refused.)"""
    client = Client(path)
    client.send(IHAVEOPT + struct.pack(">II", OPT_STARTTLS, 0)
                + IHAVEOPT + struct.pack(">II", OPT_STRUCTURED, 0))
    assert client.answers(OPT_STARTTLS)[-1][0] in (ERR_UNSUP, ERR_POLICY)
    assert client.answers(OPT_STRUCTURED)[-1][0] == REP_ACK


def status_of_nearly_four_gib(path, _pid):
    """CVE-2025-47711, CVE-2025-47712: the longest BLOCK_STATUS there is."""
    for extended in False, True:
        client = Client(path, go="", structured=True, extended=extended,
                        contexts=("base:allocation", "x-sealblk:encryption"))
        lengths = [(1 << 32) - 1, (1 << 32) - 511, (1 << 32) - 512, (1 << 32) - 4096, 1 << 31]
        if extended:
            lengths += [1 << 32, (1 << 32) + 512, 4 * TIB]
        for length in lengths:
            for offset in 0, 512, client.size - length, client.size - (1 << 33):
                wrong = length % SECTOR or offset % SECTOR or offset + length > client.size
                reply = client.do(STATUS, offset, length)
                assert bool(reply.error) == bool(wrong), (offset, length, reply.error)
                for kind, payload in reply.chunks if not wrong else ():
                    found = extents(extended, kind, payload)
                    assert 0 < sum(nr for nr, _ in found) and all(nr for nr, _ in found)
                    assert sum(nr for nr, _ in found[:-1]) < length


CASES = (lengths_of_requests, handshake_cut_anywhere, signals_while_busy, names_of_any_length,
         what_port_scans_send, gone_before_the_reply, options_that_never_end,
         answers_to_the_longest_names, expensive_to_connect_to, options_in_any_order,
         plain_text_before_tls, status_of_nearly_four_gib)


def main():
    path, pid, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    random.seed(seed)
    witness = Client(path, go="")
    assert witness.size == 4 * TIB
    for nr, case in enumerate(CASES):
        case(path, pid)
        for client in witness, Client(path, go=""):
            offset, mark = 2 * TIB + nr * 4096, bytes([nr + 1]) * 4096
            assert client.do(WRITE, offset, 4096, payload=mark).error == 0
            assert client.read(offset, 4096) == mark
        print(case.__doc__.splitlines()[0], "ok")


main()
