#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What sealblkd does where the NBD protocol leaves it a choice, and with exports that are
known, one line for each thing. What the protocol demands of any server is with
nbd-conformance.

    conformance.py SOCKET HOST:PORT PID

SOCKET and HOST:PORT lead to the same daemon, whose process is PID. Its exports:
"" of at least 128 MiB, "second", and "big" of 8 GiB. The first 64 MiB of "" are
overwritten. Prints "ok N - text" or "not ok N - text: why"; fails on any of the
latter.
"""
import ctypes
import os
import random
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
from demands import equal, row, run_all  # noqa: E402
from raw_nbd import *  # noqa: F403,E402  one vocabulary, as in the protocol's text

UNIX, TCP, PID = None, None, None
ALLOCATION, ENCRYPTION = "base:allocation", "x-sealblk:encryption"
HOLE_AND_ZERO = 3


def one_of(wanted, got, what="value"):
    assert got in wanted, "%s: wanted one of %r, got %r" % (what, wanted, got)


def shaking(**how):
    return Client(UNIX, **how)


def serving(**how):
    how.setdefault("go", "")
    return Client(UNIX, **how)


def in_sync(client):
    """The next option is understood."""
    equal(REP_ACK, client.result(OPT_LIST), "the option after it")


def still_serves(client):
    equal(0, client.do(READ, 0, SECTOR).error, "the request after it")


# ---- handshake -----------------------------------------------------------------------

@row("greeting: FIXED_NEWSTYLE and NO_ZEROES, no other flag")
def _():
    equal(FIXED_NEWSTYLE | NO_ZEROES, shaking().handshake_flags, "flags")


@row("client flags: any known combination is served")
def _():
    for flags in 0, 1, 2, 3:
        in_sync(shaking(flags=flags))


@row("wrong option magic: closed")
def _():
    client = shaking()
    client.option(OPT_LIST, magic=b"IHAVENOT")
    assert client.is_closed()


@row("ABORT: ACK, then closed; data is ignored")
def _():
    for data in b"", b"good bye":
        client = shaking()
        equal([(REP_ACK, b"")], client.ask(OPT_ABORT, data))
        assert client.is_closed()


@row("LIST: each export once, then ACK")
def _():
    replies = shaking().ask(OPT_LIST)
    equal((REP_ACK, b""), replies.pop())
    names = []
    for kind, data in replies:
        equal(REP_SERVER, kind)
        size = struct.unpack(">I", data[:4])[0]
        assert 4 + size <= len(data)
        names.append(data[4:4 + size].decode())
    equal(["", "big", "second"], sorted(names))


@row("unknown export: ERR_UNKNOWN for INFO, GO, LIST_META and SET_META")
def _():
    client = shaking()
    client.negotiate_structured()
    for name in "nobody", "Second", "second ", "s" * 4096:
        for option in OPT_INFO, OPT_GO:
            equal(ERR_UNKNOWN, client.result(option, info_data(name)))
        for option in OPT_LIST_META, OPT_SET_META:
            equal(ERR_UNKNOWN, client.result(option, meta_data(name, "base:")))
    in_sync(client)


@row("name longer than its option: ERR_INVALID, in step")
def _():
    client = shaking()
    for option in OPT_INFO, OPT_GO:
        for size in 1, 5, 0x7fffffff, 0xffffffff:
            equal(ERR_INVALID, client.result(option, struct.pack(">I", size) + b"\0\0"))
    in_sync(client)


@row("name of 4096 bytes is looked up, of 4097 refused, in step")
def _():
    client = shaking()
    for option in OPT_INFO, OPT_GO:
        equal(ERR_UNKNOWN, client.result(option, info_data(b"n" * 4096)))
        one_of((ERR_INVALID, ERR_TOO_BIG), client.result(option, info_data(b"n" * 4097)))
    in_sync(client)


@row("name with a NUL or not UTF-8: an error, in step")
def _():
    client = shaking()
    for name in b"\0", b"second\0", b"\xff\xfe":
        one_of((ERR_INVALID, ERR_UNKNOWN), client.result(OPT_GO, info_data(name)))
    in_sync(client)
    client.option(OPT_EXPORT_NAME, b"second\0")
    assert client.is_closed()


@row("INFO_NAME and INFO_DESCRIPTION")
def _():
    infos = shaking().infos(OPT_INFO, "second", INFO_NAME, INFO_DESCRIPTION)
    equal(b"second", infos[INFO_NAME])
    assert infos[INFO_DESCRIPTION].startswith(b"64 MiB, "), infos[INFO_DESCRIPTION]
    listed_as = {data[4:4 + struct.unpack(">I", data[:4])[0]]: data
                 for _, data in shaking().ask(OPT_LIST)[:-1]}
    assert listed_as[b"second"].endswith(b"second" + infos[INFO_DESCRIPTION]), "LIST says otherwise"


@row("INFO_BLOCK_SIZE: 512, 4096, 32 MiB")
def _():
    infos = shaking().infos(OPT_INFO, "", INFO_BLOCK_SIZE)
    equal((512, 4096, 32 * MIB), struct.unpack(">III", infos[INFO_BLOCK_SIZE]))


def listed(client, *queries, name=""):
    replies = client.ask(OPT_LIST_META, meta_data(name, *queries))
    equal(REP_ACK, replies.pop()[0])
    return sorted(data[4:].decode() for _, data in replies)


@row("contexts before STRUCTURED_REPLY: ERR_INVALID")
def _():
    client = shaking()
    for option in OPT_LIST_META, OPT_SET_META:
        equal(ERR_INVALID, client.result(option, meta_data("", ALLOCATION)))
    in_sync(client)


@row("LIST_META_CONTEXT: a namespace lists its own, and what is no name nothing")
def _():
    client = shaking()
    client.negotiate_structured()
    equal([ALLOCATION, ENCRYPTION], listed(client))
    equal([ENCRYPTION], listed(client, "x-sealblk:"))
    for query in "qemu:", "base:other", "base", "", "base:allocation:", "B" * 4096:
        equal([], listed(client, query))
    equal([ALLOCATION, ENCRYPTION], listed(client, "x:y", "base:", ENCRYPTION, ALLOCATION))


@row("1000 queries in one option: each context once; a longer option is refused, in step")
def _():
    client = shaking()
    client.negotiate_structured()
    many = ["q:%d" % number for number in range(1000)]
    equal([ALLOCATION, ENCRYPTION], listed(client, *many, "base:", ENCRYPTION, ALLOCATION))
    client.select("", *many, ALLOCATION, ALLOCATION)
    equal({ALLOCATION}, set(client.contexts))
    for option in OPT_LIST_META, OPT_SET_META:
        equal(ERR_TOO_BIG, client.result(option, meta_data("", *many, *many)))
    in_sync(client)


@row("INFO and GO, cut or lengthened at every byte: ERR_INVALID, in step")
def _():
    data = info_data("second", INFO_NAME, INFO_BLOCK_SIZE)
    for option in OPT_INFO, OPT_GO:
        for wrong in [data[:size] for size in range(len(data))] + [data + b"\0"]:
            client = shaking()
            client.negotiate_structured()
            equal(ERR_INVALID, client.result(option, wrong), "option %d cut at %d of %d"
                  % (option, len(wrong), len(data)))
            in_sync(client)
            client.close()


@row("option longer than is kept: an error, in step")
def _():
    client = shaking()
    for option in OPT_GO, OPT_INFO, OPT_LIST, 99:
        for size in 13 * KIB, 100 * KIB:
            one_of((ERR_TOO_BIG, ERR_INVALID, ERR_UNSUP), client.result(option, bytes(size)))
    in_sync(client)


@row("option length 0x7fffffff or 0xffffffff: closed at once")
def _():
    for length in 0x7fffffff, 0xffffffff:
        client = shaking()
        client.option(OPT_GO, b"", length=length)
        assert client.is_closed()


@row("options without end: closed")
def _():
    client = shaking()
    try:
        for _ in range(10000):
            client.ask(OPT_LIST)
        raise AssertionError("10000 options were answered")
    except Closed:
        pass


@row("a request before GO: closed")
def _():
    client = shaking()
    client.request(READ, 0, SECTOR)
    assert client.is_closed()


# ---- transmission flags --------------------------------------------------------------

OFFERED = (HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_TRIM | SEND_WRITE_ZEROES | CAN_MULTI_CONN
           | SEND_CACHE | SEND_FAST_ZERO)


@row("transmission flags: what we do, SEND_DF only with structured replies")
def _():
    equal(OFFERED, serving().flags, "without")
    equal(OFFERED | SEND_DF, serving(structured=True).flags, "with")


# ---- commands ------------------------------------------------------------------------

def each_kind():
    """A client with simple replies, and two with contexts: structured and extended replies."""
    yield serving()
    yield serving(contexts=(ALLOCATION, ENCRYPTION))
    yield serving(contexts=(ALLOCATION, ENCRYPTION), extended=True)


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


@row("FLUSH with offset or length: EINVAL")
def _():
    client = serving()
    equal(EINVAL, client.do(FLUSH, SECTOR).error)
    equal(EINVAL, client.do(FLUSH, 0, SECTOR).error)


@row("TRIM: reads as zeros, is a hole; WRITE_ZEROES likewise")
def _():
    client = serving(contexts=(ALLOCATION, ENCRYPTION))
    for command in TRIM, ZEROES:
        client.do(WRITE, 4 * MIB, MIB, payload=noise(MIB))
        equal([(MIB, 0)], client.status(4 * MIB, MIB)[ALLOCATION], "before")
        equal(0, client.do(command, 4 * MIB, MIB).error)
        equal(bytes(MIB), client.read(4 * MIB, MIB))
        equal({ALLOCATION: [(MIB, HOLE_AND_ZERO)], ENCRYPTION: [(MIB, 1)]},
              client.status(4 * MIB, MIB))


@row("WRITE_ZEROES with NO_HOLE: zeros, and no hole")
def _():
    client = serving(contexts=(ALLOCATION, ENCRYPTION))
    client.do(TRIM, 4 * MIB, 4 * MIB)
    equal(0, client.do(ZEROES, 4 * MIB, 3 * MIB, NO_HOLE).error)
    equal(bytes(3 * MIB), client.read(4 * MIB, 3 * MIB))
    for size, state in client.status(4 * MIB, 3 * MIB)[ALLOCATION]:
        assert not state & 1, "a hole of %d bytes" % size
    equal([(3 * MIB, 3)], client.status(4 * MIB, 3 * MIB)[ENCRYPTION])


@row("WRITE_ZEROES with FAST_ZERO: done; with NO_HOLE as well ENOTSUP, and nothing changes")
def _():
    client = serving()
    client.do(WRITE, 4 * MIB, MIB, payload=noise(MIB))
    equal(ENOTSUP, client.do(ZEROES, 4 * MIB, MIB, FAST_ZERO | NO_HOLE).error)
    assert client.read(4 * MIB, MIB) == noise(MIB)
    equal(0, client.do(ZEROES, 4 * MIB, MIB, FAST_ZERO).error)
    equal(bytes(MIB), client.read(4 * MIB, MIB))


@row("CACHE")
def _():
    for client in each_kind():
        equal(0, client.do(CACHE, 0, 64 * MIB).error)
        equal(0, client.do(CACHE, client.size - SECTOR, SECTOR).error)


@row("READ with DF: one chunk, up to 32 MiB")
def _():
    client = serving(structured=True)
    client.do(ZEROES, 0, 32 * MIB)
    for at in range(0, 32 * MIB, 8 * MIB):
        client.do(WRITE, at, 64 * KIB, payload=noise(64 * KIB))
    for size in SECTOR, 64 * KIB, 128 * KIB, 32 * MIB:
        reply = client.do(READ, 0, size, DF)
        equal([CHUNK_DATA], [kind for kind, _ in reply.chunks], "chunks")
        assert assemble(reply, 0, size)[:64 * KIB] == noise(64 * KIB)[:size]


@row("READ with DF of more than 32 MiB: EOVERFLOW, and without; the connection survives")
def _():
    client = serving(structured=True)
    for flags in DF, 0:
        for length in 32 * MIB + SECTOR, 64 * MIB, 0xfffffe00:
            wanted = EOVERFLOW if length <= client.size else EINVAL
            equal(wanted, client.do(READ, 0, length, flags).error)
    still_serves(client)


@row("structured READ: data and holes cover the range once; holes are where zeros are")
def _():
    client = serving(structured=True)
    client.do(ZEROES, 0, 8 * MIB)
    for at in range(0, 8 * MIB, 2 * MIB):
        client.do(WRITE, at, MIB, payload=noise(MIB, at))
    reply = client.do(READ, 0, 8 * MIB)
    equal({CHUNK_DATA, CHUNK_HOLE}, {kind for kind, _ in reply.chunks})
    wanted = b"".join(noise(MIB, at) + bytes(MIB) for at in range(0, 8 * MIB, 2 * MIB))
    assert assemble(reply, 0, 8 * MIB) == wanted


@row("structured READ, scattered: still the right bytes")
def _():
    client = serving(structured=True)
    client.do(ZEROES, 0, MIB)
    wanted = bytearray(MIB)
    for sector in range(0, 2048, 3):
        wanted[sector * SECTOR:(sector + 1) * SECTOR] = noise(SECTOR, sector)
        client.do(WRITE, sector * SECTOR, SECTOR, payload=noise(SECTOR, sector))
    for offset, length in (0, MIB), (SECTOR, 64 * KIB), (5 * SECTOR, MIB // 2):
        assert client.read(offset, length) == wanted[offset:offset + length]


@row("BLOCK_STATUS: each context once, extents within the range, and true")
def _():
    client = serving(contexts=(ALLOCATION, ENCRYPTION))
    client.do(ZEROES, 0, 4 * MIB)
    client.do(WRITE, MIB, MIB, payload=noise(MIB))
    status = client.status(SECTOR, 4 * MIB - 2 * SECTOR)
    equal([(MIB - SECTOR, HOLE_AND_ZERO), (MIB, 0), (2 * MIB - SECTOR, HOLE_AND_ZERO)],
          status[ALLOCATION])
    equal([(MIB - SECTOR, 1), (MIB, 3), (2 * MIB - SECTOR, 1)], status[ENCRYPTION])


@row("BLOCK_STATUS of 0xfffffe00 bytes, the longest there is; and past the end of a short disk")
def _():
    client = serving(go="big", contexts=(ALLOCATION, ENCRYPTION))
    for offset in 0, SECTOR, 4 << 30:
        for extents in client.status(offset, 0xfffffe00).values():
            assert 0 < sum(size for size, _ in extents) <= 0xfffffe00
    equal(EINVAL, serving(contexts=(ALLOCATION,)).do(STATUS, 0, 0xfffffe00).error)


@row("BLOCK_STATUS walked from end to end meets its end")
def _():
    client = serving(go="big", contexts=(ALLOCATION,))
    at = turns = 0
    while at < client.size and turns < 1000:
        at += sum(size for size, _ in
                  client.status(at, min(client.size - at, 0xfffffe00))[ALLOCATION])
        turns += 1
    equal(client.size, at)


@row("length 0: no disconnect; BLOCK_STATUS of nothing is EINVAL")
def _():
    for client in each_kind():
        for command in READ, WRITE, TRIM, CACHE, ZEROES, STATUS:
            for offset in 0, client.size:
                one_of((0, EINVAL, ENOSPC), client.do(command, offset, 0).error)
        equal(EINVAL, client.do(STATUS, 0, 0).error)
        still_serves(client)


@row("READ and WRITE of 32 MiB")
def _():
    for client in each_kind():
        data = noise(32 * MIB)
        equal(0, client.do(WRITE, 16 * MIB, 32 * MIB, payload=data).error)
        assert client.read(16 * MIB, 32 * MIB) == data


@row("READ of more than 32 MiB with simple replies: EINVAL; WRITE: EINVAL and in step, or closed")
def _():
    client = serving()
    for length in 32 * MIB + SECTOR, 64 * MIB, 0xfffffe00:
        equal(EINVAL, client.do(READ, 0, length).error)
    for length in 32 * MIB + SECTOR, 33 * MIB, 64 * MIB, 65 * MIB:
        try:
            client = serving()
            equal(EINVAL, client.do(WRITE, 0, length).error)
            still_serves(client)
        except Closed:
            assert length > 33 * MIB, "closed, though little more than allowed"


@row("TRIM, WRITE_ZEROES, CACHE, BLOCK_STATUS may be longer than a payload")
def _():
    client = serving(go="big", contexts=(ALLOCATION,))
    for command in TRIM, ZEROES, CACHE, STATUS:
        for length in 33 * MIB, 1 << 30, 0xfffffe00:
            equal(0, client.do(command, SECTOR, length).error, "command %d" % command)


@row("DISC with unknown flags, offset and length: closed all the same")
def _():
    client = serving()
    client.request(DISC, 1, 1, 0xffff)
    assert client.is_closed()


@row("wrong request magic: closed")
def _():
    for magic in 0, REQUEST + 1, SIMPLE, STRUCTURED, 0x21e41c71:
        client = serving()
        client.request(READ, 0, SECTOR, magic=magic)
        assert client.is_closed()


@row("1000 requests, 100 of them in flight: one reply for each, in any order")
def _():
    client = serving()
    cookies = []
    for cookie in range(1000):
        client.request(WRITE, cookie * SECTOR, SECTOR, cookie=cookie)
        if cookie >= 100:
            cookies.append(client.reply().cookie)
    cookies += [client.reply().cookie for _ in range(100)]
    equal(list(range(1000)), sorted(cookies))


# ---- sockets -------------------------------------------------------------------------

def sockets_of_daemon():
    """Duplicates of the daemon's sockets, where we are allowed to make them."""
    libc = ctypes.CDLL(None, use_errno=True)
    pidfd = os.pidfd_open(PID)
    found = []
    for name in os.listdir("/proc/%d/fd" % PID):
        if not os.readlink("/proc/%d/fd/%s" % (PID, name)).startswith("socket:"):
            continue
        fd = libc.syscall(438, pidfd, int(name), 0)  # pidfd_getfd
        if fd < 0:
            raise PermissionError("pidfd_getfd: errno %d" % ctypes.get_errno())
        found.append(socket.socket(fileno=fd))
    os.close(pidfd)
    return found


@row("TCP: the same service, with TCP_NODELAY")
def _():
    client = Client(TCP, go="", structured=True)
    client.do(WRITE, 0, MIB, payload=noise(MIB))
    assert client.read(0, MIB) == noise(MIB)
    try:
        sockets = sockets_of_daemon()
    except OSError as error:
        print("# TCP_NODELAY cannot be seen here: %s" % error)
        return
    name = client.socket.getsockname()
    ours = [s for s in sockets if s.family == socket.AF_INET and is_connected_to(s, name)]
    equal(1, len(ours), "connections")
    assert ours[0].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), "not set"


def is_connected_to(one, name):
    try:
        return one.getpeername() == name
    except OSError:
        return False


# ---- clients that vanish -------------------------------------------------------------

def conversation():
    """All that a client sends which does a bit of everything."""
    client = serving(contexts=(ALLOCATION, ENCRYPTION))
    for command, offset, length, flags in (
            (WRITE, 0, SECTOR, 0), (READ, 0, 64 * KIB, 0), (STATUS, 0, MIB, 0),
            (WRITE, SECTOR, SECTOR, FUA), (TRIM, MIB, MIB, 0), (ZEROES, MIB, SECTOR, NO_HOLE),
            (CACHE, 0, MIB, 0), (READ, 0, SECTOR, DF), (FLUSH, 0, 0, 0), (9, 0, SECTOR, 0)):
        client.do(command, offset, length, flags)
    client.request(DISC)
    return b"".join(client.sent)


def vanish_at(address, talk, size, abruptly):
    client = Client(address, flags=None)
    try:
        client.send(talk[:size])
        if abruptly:  # a TCP reset
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            client.socket.shutdown(socket.SHUT_WR)
    except (Closed, OSError):
        pass
    client.close()


def descriptors():
    """How many the daemon has; None where it is not ours to see: it may not be dumped."""
    try:
        return len(os.listdir("/proc/%d/fd" % PID))
    except PermissionError:
        return None


def memory_kib():
    with open("/proc/%d/status" % PID) as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def wait_until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def is_served(clients):
    """One more of them, which stays connected."""
    try:
        clients.append(serving())
    except (Closed, ConnectionError):
        return False
    return True


def vanish_everywhere(address, talk, abruptly):
    # A place comes free a moment after its client has left.
    for size in range(len(talk) + 1):
        for attempt in range(200):
            try:
                vanish_at(address, talk, size, abruptly)
                break
            except Closed:
                assert attempt < 199, "refused"
                time.sleep(0.02)


@row("a client that vanishes at any byte: the daemon serves on, and keeps nothing of it")
def _():
    talk = conversation()
    assert wait_until(lambda: descriptors() == IDLE_DESCRIPTORS), descriptors()
    vanish_everywhere(UNIX, talk, False)
    wait_until(lambda: descriptors() == IDLE_DESCRIPTORS)
    before = memory_kib()
    for address, abruptly in (TCP, True), (TCP, False), (UNIX, False):
        vanish_everywhere(address, talk, abruptly)
        assert wait_until(lambda: descriptors() == IDLE_DESCRIPTORS), \
            "%d descriptors, %d before" % (descriptors(), IDLE_DESCRIPTORS)
    grown = memory_kib() - before
    assert grown < 4096, "memory grew by %d KiB" % grown
    still_serves(serving())


if __name__ == "__main__":
    UNIX = sys.argv[1]
    host, port = sys.argv[2].rsplit(":", 1)
    TCP = (host, int(port))
    PID = int(sys.argv[3])
    IDLE_DESCRIPTORS = descriptors()
    sys.exit(1 if run_all() else 0)
