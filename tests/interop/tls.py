#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""TLS as clients see it, one line per demand.

    tls.py SOCKET HOST:PORT FOLDER PID

SOCKET and HOST:PORT lead to the same daemon, with TLS, whose process is PID and whose
export "" has at least 64 MiB, which are overwritten. FOLDER has the certificates of
test-tls.sh, which are exchanged in the end, and put back. Prints
"ok N - text" or "not ok N - text: why"; fails on any of the latter.
"""
import os
import random
import shutil
import signal
import socket
import ssl
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
from demands import ROWS, equal, row, run_all  # noqa: E402
from raw_nbd import *  # noqa: F403,E402  one vocabulary, as in the protocol's text

UNIX, TCP, FOLDER, PID = None, None, None, None
HANDSHAKE_S = 10


def context(name="client", ca="ca", version=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(os.path.join(FOLDER, ca + "-cert.pem"))
    if name:
        made.load_cert_chain(os.path.join(FOLDER, name + "-cert.pem"),
                             os.path.join(FOLDER, name + "-key.pem"))
    if version:
        made.minimum_version = made.maximum_version = version
    return made


def started(address=None):
    """STARTTLS has been acknowledged: what comes next is TLS."""
    client = Client(address or TCP)
    equal(REP_ACK, client.result(OPT_STARTTLS), "STARTTLS")
    return client


def secured(address=None, **how):
    client = started(address)
    client.socket = context(**how).wrap_socket(client.socket, server_hostname="localhost")
    return client


def refused(**how):
    """The server does not let this client in, but it goes on serving others."""
    try:
        client = secured(**how)
        client.result(OPT_LIST)  # TLS 1.3: the client is through before it is judged
    except (ssl.SSLError, Closed, ConnectionResetError):
        still_serves()
        return
    raise AssertionError("it was let in")


def still_serves():
    client = secured()
    client.go("")
    equal(0, client.do(READ, 0, SECTOR).error, "a READ of somebody else")
    client.close()


@row("a server name and a chain that clients can check; TLS 1.3 with authenticated encryption")
def _():
    client = secured()
    equal("TLSv1.3", client.socket.version())
    assert client.socket.cipher()[0].endswith(("GCM_SHA256", "GCM_SHA384", "POLY1305_SHA256"))


@row("what is written behind TLS is read back, with TLS and without, in TLS 1.2 and 1.3")
def _():
    for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
        client, plain = secured(version=version), Client(UNIX, go="")
        client.go("")
        data = os.urandom(4 * MIB + SECTOR)
        equal(0, client.do(WRITE, MIB, len(data), payload=data).error, "WRITE")
        equal(data, plain.do(READ, MIB, len(data)).data, "READ in plaintext")
        equal(data, client.do(READ, MIB, len(data)).data, "READ behind TLS")


@row("requests of all sizes, many at a time, are answered as without TLS")
def _():
    client = secured()
    client.negotiate_structured()
    client.go("")
    size, wanted = 8 * MIB, os.urandom(8 * MIB)
    equal(0, client.do(WRITE, 0, size, payload=wanted).error)
    pieces = {}
    for cookie in range(1, 40):
        count = random.choice((1, 2, 8, 31, 32, 33, 64, 255, 2048)) * SECTOR
        first = random.randrange(0, size - count, SECTOR)
        pieces[cookie] = (first, count, bytearray(count))
        client.request(READ, first, count, cookie=cookie)
    left = len(pieces)
    while left:
        cookie, flags, kind, payload = client.chunk()
        first, count, into = pieces[cookie]
        equal(CHUNK_DATA, kind, "chunk of %d" % cookie)
        at = struct.unpack(">Q", payload[:8])[0] - first
        into[at:at + len(payload) - 8] = payload[8:]
        left -= flags & CHUNK_DONE
    for first, count, into in pieces.values():
        equal(wanted[first:first + count], bytes(into), "%d bytes at %d" % (count, first))


@row("TLS in pieces of one byte is understood")
def _():
    client = started()
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context().wrap_bio(into, out, server_hostname="localhost")

    def push():
        data = out.read()
        for at in range(len(data)):
            client.socket.sendall(data[at:at + 1])

    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            push()
            into.write(client.socket.recv(1 << 16))
    tls.write(IHAVEOPT + struct.pack(">II", OPT_LIST, 0))
    push()
    answer = b""
    while len(answer) < 20:
        try:
            answer += tls.read(1 << 16)
        except ssl.SSLWantReadError:
            into.write(client.socket.recv(1 << 16))
    equal((OPTION_REPLY, OPT_LIST, REP_SERVER), struct.unpack(">QII", answer[:16]))


@row("before TLS each option but ABORT is refused with TLS_REQD, and EXPORT_NAME with the end")
def _():
    client = Client(TCP)
    for option, data in ((OPT_LIST, b""), (OPT_INFO, info_data("")), (OPT_GO, info_data("")),
                         (OPT_STRUCTURED, b""), (OPT_EXTENDED, b""), (77, b"x"),
                         (OPT_SET_META, meta_data("", "base:allocation")),
                         (OPT_LIST_META, meta_data("", "base:"))):
        equal(ERR_TLS_REQD, client.result(option, data), "option %d" % option)
    equal(REP_ACK, client.result(OPT_ABORT), "ABORT")
    client = Client(TCP)
    client.option(OPT_EXPORT_NAME)
    assert client.is_closed()


@row("a unix socket serves clients with TLS and without")
def _():
    Client(UNIX).go("")
    secured(UNIX).go("")


@row("STARTTLS with data is refused, and so is a second one behind TLS; both stay in sync")
def _():
    client = Client(TCP)
    equal(ERR_INVALID, client.result(OPT_STARTTLS, b"now"))
    equal(REP_ACK, client.result(OPT_STARTTLS))
    client = secured()
    equal(ERR_INVALID, client.result(OPT_STARTTLS))
    client.go("")


@row("what was negotiated before STARTTLS counts no more (CVE-2021-3716)")
def _():
    for option in OPT_STRUCTURED, OPT_EXTENDED:
        client = Client(UNIX)
        equal(REP_ACK, client.result(option))
        equal(REP_ACK, client.ask(OPT_SET_META, meta_data("", "base:allocation"))[-1][0])
        equal(REP_ACK, client.result(OPT_STARTTLS))
        client.socket = context().wrap_socket(client.socket, server_hostname="localhost")
        assert client.result(OPT_SET_META, meta_data("", "base:allocation")) >> 31, "contexts"
        client.go("")
        equal(True, client.do(READ, 0, SECTOR).simple, "a simple reply")


@row("plaintext that comes behind STARTTLS is dropped (CVE-2021-3716)")
def _():
    client = Client(TCP)
    injected = IHAVEOPT + struct.pack(">II", OPT_ABORT, 0)
    client.send(IHAVEOPT + struct.pack(">II", OPT_STARTTLS, 0) + 5 * injected)
    equal((REP_ACK, b""), client.option_reply(OPT_STARTTLS))
    client.socket = context().wrap_socket(client.socket, server_hostname="localhost")
    client.go("")


@row("TLS 1.1 and older are refused")
def _():
    client = started()
    old = context()
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    try:
        old.wrap_socket(client.socket, server_hostname="localhost")
    except (ssl.SSLError, ConnectionResetError) as error:
        assert "NO_PROTOCOLS" not in str(error), error  # ours would have refused, not theirs
        return
    raise AssertionError("it was let in")


@row("ciphers without authentication of what is encrypted, or without forward secrecy, are refused")
def _():
    for ciphers in "ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256":
        client = started()
        weak = context(version=ssl.TLSVersion.TLSv1_2)
        weak.set_ciphers(ciphers)
        try:
            weak.wrap_socket(client.socket, server_hostname="localhost")
        except (ssl.SSLError, ConnectionResetError):
            continue
        raise AssertionError("%s was taken" % ciphers)


@row("a client without a certificate is not let in")
def _():
    refused(name=None)
    refused(name=None, version=ssl.TLSVersion.TLSv1_2)


@row("nor one with a certificate of another CA, an expired, a revoked or a server's one")
def _():
    for name in "other", "expired", "revoked", "server":
        for version in ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3:
            refused(name=name, version=version)


@row("nor one with a name that is not on the list; one whose DNS name is on it is")
def _():
    refused(name="stranger")
    secured(name="dns").go("")


@row("who speaks no TLS where it is due is cut off, whatever he says")
def _():
    for noise in (b"GET / HTTP/1.0\r\n\r\n", IHAVEOPT + struct.pack(">II", OPT_GO, 0),
                  bytes(100), b"\x16\x03\x01\xff\xff" + os.urandom(70000), os.urandom(5000)):
        client = started()
        try:
            client.send(noise)
            client.socket.shutdown(socket.SHUT_WR)
        except (Closed, OSError):
            pass  # the server was faster
        assert client.is_closed(), noise[:20]
    still_serves()


def client_hello():
    out = ssl.MemoryBIO()
    tls = context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


@row("a handshake that is cut off at any byte, or has one changed, does no harm")
def _():
    hello = client_hello()
    for at in range(0, len(hello), 3):
        client = started()
        client.send(hello[:at])
        client.close()
        client = started()
        client.send(hello[:at] + bytes([hello[at] ^ 1 << random.randrange(8)]) + hello[at + 1:])
        client.close()
    still_serves()


@row("a record that was changed on its way ends the connection, and is not carried out")
def _():
    client = started()
    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context().wrap_bio(into, out, server_hostname="localhost")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            client.socket.sendall(out.read())
            into.write(client.socket.recv(1 << 16))
    plain = Client(UNIX, go="")
    before = plain.do(READ, 0, SECTOR).data
    tls.write(IHAVEOPT + struct.pack(">II", OPT_EXPORT_NAME, 0)
              + struct.pack(">IHHQQI", REQUEST, 0, WRITE, 1, 0, SECTOR) + bytes(SECTOR))
    record = bytearray(out.read())
    record[-1] ^= 1
    client.socket.sendall(bytes(record))
    assert client.is_closed()
    equal(before, plain.do(READ, 0, SECTOR).data, "the sector")


@row("a client that says nothing after STARTTLS is cut off at the handshake's deadline")
def _():
    client = started()
    begin = time.monotonic()
    client.socket.settimeout(HANDSHAKE_S + 10)
    assert client.is_closed()
    assert time.monotonic() - begin < HANDSHAKE_S + 5


@row("a client that never reads is waited for, and others are served meanwhile")
def _():
    greedy = secured()
    greedy.go("")
    for cookie in range(100):
        greedy.request(READ, 0, MIB, cookie=cookie)
    still_serves()
    greedy.close()
    still_serves()


@row("DISC is answered with TLS's good-bye")
def _():
    client = secured()
    client.go("")
    client.request(DISC)
    equal(b"", client.socket.recv(1), "after close_notify")


# ---- SIGHUP: the files are read again ------------------------------------------------

def replace(name, by):
    shutil.copy(os.path.join(FOLDER, by), os.path.join(FOLDER, name + ".new"))
    os.replace(os.path.join(FOLDER, name + ".new"), os.path.join(FOLDER, name))


def identity(name):
    for part in "-cert.pem", "-key.pem":
        replace("server" + part, name + part)


def serial():
    """Of the certificate that a new connection is shown."""
    return secured().socket.getpeercert()["serialNumber"]


def hang_up(until):
    os.kill(PID, signal.SIGHUP)
    end = time.monotonic() + 10
    while not until():
        assert time.monotonic() < end, "nothing has changed"
        time.sleep(0.02)


@row("SIGHUP: a renewed certificate is shown; who is connected stays so; what is wrong changes nothing")
def _():
    before, client = serial(), secured()
    client.go("")
    identity("renewed")
    hang_up(lambda: serial() != before)
    equal(0, client.do(READ, 0, SECTOR).error, "a READ of one that was connected")
    renewed = serial()
    replace("server-key.pem", "client-key.pem")
    os.kill(PID, signal.SIGHUP)
    time.sleep(0.5)
    equal(renewed, serial(), "the certificate beside a key that is not its own")
    identity("first")
    hang_up(lambda: serial() == before)


@row("SIGHUP: a certificate that the new revocation list names is refused, until the old one is back")
def _():
    def is_let_in():
        try:
            secured(name="dns").go("")
            return True
        except (ssl.SSLError, Closed, ConnectionResetError):
            return False

    assert is_let_in()
    replace("crl.pem", "crl2.pem")
    hang_up(lambda: not is_let_in())
    still_serves()
    replace("crl.pem", "crl1.pem")
    hang_up(is_let_in)


def main():
    global UNIX, TCP, FOLDER, PID
    UNIX, FOLDER, PID = sys.argv[1], sys.argv[3], int(sys.argv[4])
    host, port = sys.argv[2].rsplit(":", 1)
    TCP = (host, int(port))
    seed = int(os.environ.get("SEED", random.randrange(1 << 32)))
    random.seed(seed)
    print("SEED=%d" % seed)
    failed = run_all()
    print("figures: %d demands, %d not met" % (len(ROWS), failed))
    return 1 if failed else 0


sys.exit(main())
