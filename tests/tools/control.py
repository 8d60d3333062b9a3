#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Clients of the control socket, written from docs/control.md alone.

  examples DOC SOCKET IMAGE KEY NEW-KEY   run the examples of DOC, in their order
  abuse SOCKET IMAGE DAEMON-PID           clients that do what they should not
  hang SOCKET                             clients that sit there, until killed
"""
import json
import os
import re
import socket
import struct
import sys
import tempfile
import time

DOC_IMAGE = "/srv/vm.seal"
# Whatever the machine, the file system or the clock says: the kind of value counts.
VARIES = {"uuid", "time", "file_bytes", "allocated_bytes", "device", "inode", "unix"}
PATIENCE_S = 5  # the daemon's
CLIENTS_MAX = 64


def connect(path):
    client = socket.socket(socket.AF_UNIX)
    client.connect(path)  # which waits where the daemon has not yet accepted others
    client.settimeout(60)
    return client


def call(path, request):
    client = connect(path)
    try:
        client.sendall(request)
    except BrokenPipeError:
        pass  # it has read enough, and its answer is here
    return client


def ask(path, request):
    """All lines of the answer."""
    client = call(path, request.encode() + b"\n")
    lines = [json.loads(line) for line in client.makefile()]
    client.close()
    return lines


def fail(*what):
    raise SystemExit("failed: " + " ".join(str(w) for w in what))


# ---- examples --------------------------------------------------------------------------------

def blocks_of(doc):
    """The blocks marked as tested, each a list of lines."""
    text = open(doc).read()
    blocks = re.findall(r"^<!-- tested -->\n```\n(.*?)^```$", text, re.M | re.S)
    if text.count("<!-- tested -->") != len(blocks) or len(blocks) < 10:
        fail(doc, "has marks without a block, or too few")
    verbs = set(re.findall(r"^### (.*)$", text, re.M))
    tried = "".join(line for block in blocks for line in block if line)
    for verb in ", ".join(verbs).split(", "):
        if '"%s"' % verb not in tried:
            fail(doc, "has no example of", verb)
    return [block.splitlines() for block in blocks]


def expect_alike(wanted, got, where):
    if isinstance(wanted, dict) and isinstance(got, dict):
        if list(wanted) != list(got):
            fail(where, "has the members", list(got), "and not", list(wanted))
        for name in wanted:
            if name in VARIES or name.endswith("_time"):
                if type(wanted[name]) is not type(got[name]):
                    fail(where + "." + name, "is", got[name])
            else:
                expect_alike(wanted[name], got[name], where + "." + name)
    elif isinstance(wanted, list) and isinstance(got, list) and len(wanted) == len(got):
        for i, (one, other) in enumerate(zip(wanted, got)):
            expect_alike(one, other, "%s[%d]" % (where, i))
    elif wanted != got or type(wanted) is not type(got):
        fail(where, "is", json.dumps(got), "and not", json.dumps(wanted))


def secret_of(words, key, new_key):
    if "does not open" in words:
        data = os.urandom(64)
    else:
        data = open(new_key if "new" in words else key, "rb").read()
    return struct.pack("=II4096s", 0, len(data), data)


def run_example(block, path, image, key, new_key):
    client = connect(path)
    lines = client.makefile("rb")
    for line in block:
        kind, text = line[0], line[2:].replace(DOC_IMAGE, image)
        if text == "(a scratch file)":
            with tempfile.TemporaryFile() as scratch:
                socket.send_fds(client, [b"\0"], [scratch.fileno()])
        elif kind == "<" and text.endswith(" bytes)"):
            wanted = int(text[1:].split()[0])
            if len(lines.read(wanted)) != wanted:
                fail(text, "did not come")
        elif kind == ">" and text.startswith("("):
            client.sendall(secret_of(text, key, new_key))
        elif kind == ">":
            client.sendall(text.encode() + b"\n")
        elif kind == "&":
            ask(path, text)
        elif kind == "<":
            got = lines.readline()
            if not got.endswith(b"\n"):
                fail(text, "did not come:", got)
            expect_alike(json.loads(text), json.loads(got), text[:40])
        else:
            fail("what is this:", line)
    if '"events"' not in block[0]:
        rest = lines.read()
        if rest:
            fail(block[0], "was answered by more:", rest)
    client.close()


def examples(doc, path, image, key, new_key):
    blocks = blocks_of(doc)
    for block in blocks:
        run_example(block, path, image, key, new_key)
    print("%d examples are as the page says" % len(blocks))


# ---- abuse -------------------------------------------------------------------------------------

MAP = b'{"verb":"map"}\n'
ERRORS = {
    "this daemon does not know the request": (
        b"{}", b"[]", b"[1]", b'{"verb":7}', b'{"verb":null}', b'{"verb":["info"]}',
        b'{"verb":"INFO"}', b'{"verb":""}', b'{"verb":"info "}', b'{"verbs":"info"}',
        b'{"verb":"encryption","enabled":1}', b'{"verb":"encryption","enabled":null}',
        b'{"verb":"key-remove"}', b'{"verb":"key-remove","slot":"1"}',
        b'{"verb":"key-remove","slot":8}', b'{"verb":"key-remove","slot":-1}',
        b'{"verb":"key-remove","slot":1.0}', b'{"verb":"key-remove","slot":99999999999}',
        b'{"verb":"key-remove","slot":1,"destroy_data":"yes"}',
    ),
    "the request is not JSON": (
        b"", b" ", b"info", b'{"verb":"info"', b'{"verb":"info"}}', b'{"verb":"info"} x', b"\0",
        b'{"verb":"\xff"}', b'{"verb":"info","verb":"map"}', b"7", b'"info"', b"true",
        b'{"verb":"info\\u0000"}', b"[" * 4000, b'{"a":' * 800, b"\xff\xfe\x00\x01",
        b'{"slot":123456789012345678901234567890}',
    ),
}


def answer_of(client):
    """All that comes until the connection ends, however it ends."""
    data = b""
    try:
        while True:
            part = client.recv(1 << 16)
            if not part:
                break
            data += part
    except ConnectionResetError:
        pass
    client.close()
    return data


def expect_served(path, what):
    """Somebody else gets all of a long answer, at once."""
    start = time.monotonic()
    lines = answer_of(call(path, MAP)).splitlines()
    took = time.monotonic() - start
    if len(lines) != EXTENTS + 1 or lines[-1] != b'{"end":true}':
        fail("beside", what, "a client got", len(lines), "lines, the last", lines[-1:])
    if took > PATIENCE_S / 2:
        fail("beside", what, "a client waited for %.1f s" % took)


def expect_error(path, request, text):
    lines = answer_of(call(path, request)).splitlines()
    if len(lines) != 1 or not json.loads(lines[0])["error"].endswith(text):
        fail(request[:60], "was answered", lines)


def bad_requests(path):
    for text, requests in ERRORS.items():
        for request in requests:
            expect_error(path, request + b"\n", text)
    expect_error(path, b" " * 4096, "the request is too long")
    expect_error(path, b'{"verb":"map"' + b" " * 100000 + b"}\n", "the request is too long")
    if json.loads(answer_of(call(path, b" " * 4070 + b'{"verb":"encryption"}    \n')))["enabled"] is not True:
        fail("a request of 4096 bytes was not answered")
    expect_served(path, "bad requests")


def silent(path):
    """Nothing, half a line, a byte now and then, half of a secret: cut off, and nobody waits."""
    start = time.monotonic()
    clients = {
        "nothing": connect(path),
        "half a line": call(path, b'{"verb":'),
        "half a secret": call(path, b'{"verb":"key-add"}\n'),
    }
    clients["half a secret"].sendall(bytes(4000))
    dripping = connect(path)
    expect_served(path, "silent clients")
    gone = False
    while not gone and time.monotonic() < start + 4 * PATIENCE_S:
        try:
            dripping.send(b" ")
            time.sleep(0.1)
        except BrokenPipeError:
            gone = True
    if not gone:
        fail("a client that sends a byte now and then was never cut off")
    for what, client in clients.items():
        got = answer_of(client)
        if got not in (b"", b'{"send":2}\n'):
            fail(what, "was answered", got)
    if time.monotonic() > start + 3 * PATIENCE_S:
        fail("silent clients were cut off late")


def leaving(path):
    """Clients that are gone before, in the middle of, and after the answer."""
    for nr in (0, 1, 100, 10000):
        for _ in range(10):
            client = call(path, MAP)
            if nr:
                client.recv(nr)
            client.close()
    for _ in range(50):
        connect(path).close()
    for _ in range(10):
        call(path, b'{"verb":"encryption","enabled":true}\n').close()
        call(path, b'{"verb":"events"}\n').close()
        client = call(path, b'{"verb":"key-add"}\n')
        client.sendall(bytes(5000))
        client.close()
    expect_served(path, "clients that leave")


def deaf(path):
    """Clients that never read a long answer: cut off in the middle of it."""
    clients = [call(path, MAP) for _ in range(20)]
    start = time.monotonic()
    expect_served(path, "clients that do not read")
    time.sleep(PATIENCE_S + 2)
    for client in clients:
        if answer_of(client).endswith(b'{"end":true}\n'):
            fail("a client that did not read was waited for")
    if time.monotonic() > start + 3 * PATIENCE_S:
        fail("clients that do not read were cut off late")


def half_closed(path):
    """Who closes only the sending half still hears."""
    client = call(path, MAP)
    client.shutdown(socket.SHUT_WR)
    if not answer_of(client).endswith(b'{"end":true}\n'):
        fail("a client that closed its sending half was not answered")
    follower = call(path, b'{"verb":"events"}\n')
    follower.shutdown(socket.SHUT_WR)
    lines = follower.makefile()
    lines.readline()
    ask(path, '{"verb":"encryption","enabled":false}')
    ask(path, '{"verb":"encryption","enabled":true}')
    if json.loads(lines.readline())["enabled"] or not json.loads(lines.readline())["enabled"]:
        fail("a follower that closed its sending half heard something else")
    follower.close()


def crowd(path):
    """1000 connections: those beyond the limit are told so, and nobody is forgotten."""
    clients = [connect(path) for _ in range(1000)]
    told = 0
    for client in clients:
        try:
            client.sendall(MAP)
        except BrokenPipeError:
            pass
    served = 0
    for client in clients:
        lines = answer_of(client).splitlines()
        if lines and lines[-1] == b'{"end":true}':
            served += 1
        elif len(lines) == 1 and json.loads(lines[0]).get("busy") is True:
            told += 1
        else:
            # Nobody reads while the others are read: it may have been cut off meanwhile.
            if lines and not lines[0].startswith(b'{"offset_bytes":0,'):
                fail("one of 1000 got", lines[:2])
    if served == 0 or told < 1000 - 4 * CLIENTS_MAX:
        fail("of 1000 clients", served, "were served and", told, "told to try again")
    expect_served(path, "1000 clients")
    return served, told


def memory_kib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open("/proc/%d/status" % pid).read())[1])


def nr_descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def expect_settled(pid, descriptors):
    """No thread, no descriptor is left of all these clients. Threads end a moment later."""
    for _ in range(100):
        if nr_descriptors(pid) == descriptors:
            return
        time.sleep(0.1)
    fail(nr_descriptors(pid), "descriptors are open, and not", descriptors)


def abuse(path, image, pid):
    global EXTENTS
    pid = int(pid)
    EXTENTS = len(ask(path, '{"verb":"map"}')) - 1
    if EXTENTS < 8000:
        fail("the map has only", EXTENTS, "extents")
    descriptors = nr_descriptors(pid)
    bad_requests(path)
    leaving(path)
    half_closed(path)
    silent(path)
    deaf(path)
    served, told = crowd(path)
    before = memory_kib(pid)
    for _ in range(5):
        crowd(path)
    if memory_kib(pid) > before + 8192:
        fail("the daemon has grown from", before, "to", memory_kib(pid), "KiB")
    expect_settled(pid, descriptors)
    keys = ask(path, '{"verb":"keys"}')[0]["key_slots"]
    if len(keys) != 1:
        fail("the key slots are now", keys)
    print("figures: of 1000 clients at once %d were served, %d told to try again; %s" %
          (served, told, "%d KiB" % memory_kib(pid)))


def hang(path):
    clients = [connect(path), call(path, b'{"verb"'), call(path, MAP),
               call(path, b'{"verb":"events"}\n'), call(path, b'{"verb":"key-add"}\n')]
    time.sleep(0.5)
    print("hanging", len(clients), flush=True)
    time.sleep(600)


if __name__ == "__main__":
    {"examples": examples, "abuse": abuse, "hang": hang}[sys.argv[1]](*sys.argv[2:])
