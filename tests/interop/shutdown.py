#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What clients are told by a server that is asked to end.

    shutdown.py SOCKET PID CASE

PID is the daemon; its export "" has 1 MiB at least. Each CASE sends it SIGTERM
and leaves it to the caller to see that it ends.
"""
import os
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tools"))
from demands import equal  # noqa: E402
from raw_nbd import *  # noqa: F403,E402  one vocabulary, as in the protocol's text

PATH, PID = sys.argv[1], int(sys.argv[2])
CASES = {}


def case(check):
    CASES[check.__name__] = check
    return check


def terminate():
    os.kill(PID, signal.SIGTERM)


def keep_asking(ask, while_it_says):
    """@ask until the answer is another one; that is returned."""
    end = time.monotonic() + 2
    while time.monotonic() < end:
        answer = ask()
        if answer != while_it_says:
            return answer
        time.sleep(0.01)
    raise AssertionError("no other answer in 2 s")


def half_a_write(client, cookie):
    """A request that the server has received, and cannot finish yet."""
    payload = os.urandom(64 * KIB)
    client.request(WRITE, 0, len(payload), cookie=cookie, payload=payload[:4 * KIB])
    time.sleep(0.3)  # it is idle: it reads what there is
    return payload


@case
def requests():
    """Those received before are finished, later ones refused, all of them answered."""
    clients = [Client(PATH, go=""), Client(PATH, go="", structured=True)]
    payloads = [half_a_write(client, 7) for client in clients]
    terminate()
    for client, payload in zip(clients, payloads):
        client.send(payload[4 * KIB:])
        reply = client.reply()
        equal((7, 0), (reply.cookie, reply.error), "the WRITE begun before")
        equal(ESHUTDOWN, keep_asking(lambda: client.do(FLUSH).error, 0))
        for command, length in ((READ, SECTOR), (WRITE, SECTOR), (FLUSH, 0), (TRIM, SECTOR),
                                (CACHE, SECTOR), (ZEROES, SECTOR), (WRITE, 1 << 20)):
            equal(ESHUTDOWN, client.do(command, 0, length).error, "command %d" % command)
        equal(EINVAL, client.do(9, 0, SECTOR).error, "mistakes are told as such")
        client.request(DISC)
        assert client.is_closed()


@case
def waiting_write():
    """A client that is slow to send what it began gets its answer all the same."""
    client = Client(PATH, go="")
    payload = half_a_write(client, 7)
    terminate()
    time.sleep(0.8)  # longer than silent ones are waited for
    client.send(payload[4 * KIB:])
    reply = client.reply()
    equal((7, 0), (reply.cookie, reply.error))
    assert client.is_closed()


@case
def without_a_word():
    """Without --stop-errors: what is under way is answered, what comes later is not."""
    client = Client(PATH, go="", structured=True)
    for cookie in range(16):
        client.request(WRITE, cookie * SECTOR, SECTOR, cookie=cookie)
    time.sleep(0.1)  # it reads at least some of them
    terminate()
    cookies = []
    try:
        while True:
            reply = client.reply()
            equal(0, reply.error)
            cookies.append(reply.cookie)
            client.request(READ, 0, SECTOR, cookie=99)
            client.request(FLUSH, cookie=100)
    except Closed:
        pass
    assert cookies and set(cookies) <= set(range(16)) | {99, 100}


@case
def options():
    """Haggling ends with ERR_SHUTDOWN, and ABORT is still acknowledged."""
    client = Client(PATH)
    equal(REP_ACK, client.result(OPT_LIST))
    terminate()
    equal(ERR_SHUTDOWN, keep_asking(lambda: client.result(OPT_LIST), REP_ACK))
    for option, data in ((OPT_INFO, info_data("")), (OPT_GO, info_data("")),
                         (OPT_STRUCTURED, b""), (OPT_SET_META, meta_data("", "base:")),
                         (OPT_LIST, b"x"), (99, b"")):
        replies = client.ask(option, data)
        equal([ERR_SHUTDOWN], [kind for kind, _ in replies])
        assert replies[0][1], "without a text"
    equal([(REP_ACK, b"")], client.ask(OPT_ABORT))
    assert client.is_closed()


@case
def export_name():
    client = Client(PATH)
    client.ask(OPT_LIST)
    terminate()
    equal(ERR_SHUTDOWN, keep_asking(lambda: client.result(OPT_LIST), REP_ACK))
    client.option(OPT_EXPORT_NAME, b"")
    assert client.is_closed()


@case
def silent():
    """Who says nothing is left soon: within a second, though the grace is two."""
    clients = [Client(PATH), Client(PATH, go=""), Client(PATH, go="", structured=True)]
    clients[1].do(READ, 0, SECTOR)
    start = time.monotonic()
    terminate()
    assert all(client.is_closed() for client in clients)
    assert time.monotonic() - start < 1, "%.1f s" % (time.monotonic() - start)


@case
def long_zeroes():
    """A request that would take a minute ends with the grace."""
    client = Client(PATH, go="")
    client.request(ZEROES, 0, 3 << 30, NO_HOLE)
    time.sleep(0.2)
    start = time.monotonic()
    terminate()
    assert client.is_closed()
    took = time.monotonic() - start
    assert took < 4, "%.1f s" % took


@case
def stubborn():
    """Who goes on asking is answered, and cut off when the grace is over."""
    clients = [Client(PATH, go=""), Client(PATH, go="")]
    half_a_write(clients[1], 1)
    start = time.monotonic()
    terminate()
    try:
        while time.monotonic() < start + 6:
            assert clients[0].do(READ, 0, SECTOR).error in (0, ESHUTDOWN)
            time.sleep(0.001)
        raise AssertionError("still served after 6 s")
    except Closed:
        took = time.monotonic() - start
    assert 1.5 < took < 4, "%.1f s" % took
    assert clients[1].is_closed()


CASES[sys.argv[3]]()
