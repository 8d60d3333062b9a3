#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Fails the n-th allocation or system call of sealblk and sealblkd, for every n.

    fault_loop.py loop [--seconds N] [--seed N] [--only SCENARIO[:GROUP:N:ERROR[:on]]] BUILD
    fault_loop.py allocations BUILD

loop: each scenario (a verb, or a daemon from its start over a client's requests
to its stop) runs once to count its calls, then with one fault at a time, once
and from then on. Wanted: no signal, no hang, one line that says what is wrong,
the right exit status, no half-made file, and afterwards an image that opens and
reads right. With --seconds a random choice is tried for so long.

allocations: no thread of the daemon allocates between the set-up of its
connections and the end of a load.

The faults are made by tests/preload/fault_shim.c. Works in the current folder.
"""
import argparse
import errno
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import time

import nbd

GROUPS = ("alloc", "crypto", "read", "write", "sync", "space", "open", "other")
ERRORS = {
    "alloc": (errno.ENOMEM,),
    "crypto": (errno.ENOMEM,),  # allocations by OpenSSL
    "read": (errno.EIO, 0),
    "write": (errno.EIO, errno.ENOSPC, 0),
    "sync": (errno.EIO, errno.ENOSPC),
    "space": (errno.ENOSPC, errno.EIO, errno.EOPNOTSUPP),
    "open": (errno.EMFILE, errno.EACCES),
    "other": (errno.EACCES, errno.EIO),
}
ONCE_ONLY = {"read": (errno.EINTR, errno.EAGAIN), "write": (errno.EINTR, errno.EAGAIN),
             "sync": (errno.EINTR,)}
# OpenSSL 3.0 crashes when one of its first allocations fails, with which it sets itself up.
FIRST = {"crypto": 200}
HANG_S = 20
COUNTS = "%dQ" % (len(GROUPS) + 3)
OK, FAILED, REFUSED, KEY = 0, 1, 3, 4
MIB = 1 << 20


class Wrong(Exception):
    pass


class Fault:
    def __init__(self, group=None, number=0, error=0, on=False):
        self.group, self.number, self.error, self.on = group, number, error, on

    def __str__(self):
        return "%s:%d:%d%s" % (self.group, self.number, self.error, ":on" if self.on else "")

    def environment(self):
        with open("counts", "wb") as file:
            file.write(bytes(4096))
        environment = dict(os.environ, LD_PRELOAD=BUILD + "/tests/fault_shim.so",
                           FAULT_COUNTS=os.path.abspath("counts"))
        if self.group:
            environment["FAULT"] = str(self)
        return environment


def counts():
    """Calls by group, how many failed, allocations by threads: all but OpenSSL's, OpenSSL's."""
    with open("counts", "rb") as file:
        return struct.unpack(COUNTS, file.read(struct.calcsize(COUNTS)))


def run(arguments, fault=None):
    """Returns (status, stdout, stderr)."""
    environment = fault.environment() if fault else None
    try:
        done = subprocess.run(arguments, env=environment, timeout=HANG_S, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except subprocess.TimeoutExpired:
        raise Wrong("hangs") from None
    return done.returncode, done.stdout, done.stderr


def want_clear(status, errors, nr_lines=1):
    """A failure by exit status, with one line that tells it, or a few."""
    if status < 0:
        raise Wrong("killed by %s: %s" % (signal.Signals(-status).name, errors))
    if status != FAILED:
        raise Wrong("exit status %d: %s" % (status, errors.strip()))
    lines = [line for line in errors.splitlines() if ": warning: " not in line]
    if not 1 <= len(lines) <= nr_lines or not lines[0].startswith("sealblk") or "(null)" in lines[0]:
        raise Wrong("not one clear line: %r" % lines)


def want_sound(path, size=None):
    status, out, errors = run([BUILD + "/sealblk", "check", "--key-file", "key", path])
    if status != OK:
        raise Wrong("not sound afterwards: %s%s" % (out, errors))
    if size and os.path.getsize(path) < size:
        raise Wrong("too short")


# ---- scenarios: each runs once under @fault and raises Wrong --------------------------------

def create(fault):
    status, _, errors = run([BUILD + "/sealblk", "create", "--base", "base.raw", "--key-file",
                             "key", "new/image.seal"], fault)
    there = os.listdir("new")
    if status == OK and there == ["image.seal"]:
        want_sound("new/image.seal", MIB)
        os.unlink("new/image.seal")
        return
    for name in there:
        os.unlink("new/" + name)
    if status == OK:
        raise Wrong("exit status 0, and there is %s" % there)
    want_clear(status, errors)
    if there:
        raise Wrong("leaves %s" % there)


def report(*arguments):
    wanted = {}

    def scenario(fault):
        command = [BUILD + "/sealblk", *arguments]
        if not wanted:
            wanted["output"] = run(command)[:2]
        status, out, errors = run(command, fault)
        with open("pristine.seal", "rb") as file:
            if file.read() != PRISTINE:
                raise Wrong("has changed the image")
        if status == OK and out != wanted["output"][1] and '"problem": "base' not in out:
            raise Wrong("exit status 0, and another output: %r" % out[-60:])
        if status == REFUSED and arguments[0] == "check" and (
                "cannot be" in out or "no memory" in out):
            return  # what cannot be read is a finding
        if status != OK:
            want_clear(status, errors)
    return scenario


class Client:
    """Writes two places, one of them flushed, and knows what they may hold afterwards."""

    PLACES = (0, MIB)

    def __init__(self):
        self.may_be = [{b"B"}, {b"B"}]
        self.durable = [{b"B"}, {b"B"}]  # or what came later
        self.kind = 0

    def change(self, handle, place):
        self.kind += 1
        new = b"%d" % self.kind
        self.may_be[place].add(new)
        self.durable[place].add(new)
        handle.pwrite(new * 8192, self.PLACES[place])
        self.may_be[place] = {new}

    def trim(self, handle, place):
        self.may_be[place].add(b"\0")
        self.durable[place].add(b"\0")
        handle.trim(8192, self.PLACES[place])
        self.may_be[place] = {b"\0"}

    def flush(self, handle):
        handle.flush()
        self.durable = [versions.copy() for versions in self.may_be]

    def lose(self):
        """--accept-loss: what was acknowledged, and not flushed, may be gone."""
        self.may_be = [versions.copy() for versions in self.durable]

    def load(self, handle):
        """Raises nbd.Error."""
        self.change(handle, 0)
        self.flush(handle)
        self.change(handle, 1)
        self.check(handle)
        self.flush(handle)

    def check(self, handle):
        for place, offset in enumerate(self.PLACES):
            data = handle.pread(8192, offset)
            for at in range(0, 8192, 512):
                if all(data[at:at + 512] != one * 512 for one in self.may_be[place]):
                    raise Wrong("reads %r at %d, not of %s"
                                % (data[at:at + 8], offset + at, self.may_be[place]))


def connect():
    handle = nbd.NBD()
    handle.connect_uri("nbd+unix:///?socket=sock")
    return handle


class Daemon:
    started = []

    def __init__(self, arguments=(), fault=None):
        self.log = open("daemon.log", "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            [BUILD + "/sealblkd", "--socket", "sock", "--key-file", "key", *arguments,
             "image.seal"], env=fault.environment() if fault else None,
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        Daemon.started.append(self.process)

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def is_ready(self):
        """Waits; False: it has ended instead."""
        end = time.monotonic() + HANG_S
        while time.monotonic() < end:
            if "sealblkd: ready" in self.said():
                return True
            if self.process.poll() is not None:
                return "sealblkd: ready" in self.said()
            time.sleep(0.002)
        self.process.kill()
        raise Wrong("hangs at the start: %s" % self.said())

    def end(self):
        """Returns (status, the lines that are not for information)."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            status = self.process.wait(HANG_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Wrong("hangs at the stop: %s" % self.said()) from None
        said = self.said()
        self.log.close()
        return status, "".join(line + "\n" for line in said.splitlines()
                               if ": error: " in line or ": warning: " in line
                               or not line.startswith("sealblkd: "))


def use(client):
    """One connection and its requests; what fails is an answer or the end of the connection."""
    try:
        handle = connect()
    except nbd.Error:
        return
    try:
        client.load(handle)
        handle.shutdown()
    except nbd.Error:
        # Reads go on, unless the connection is gone or reading is what fails.
        try:
            client.check(handle)
        except nbd.Error:
            pass


def open_again(client):
    """Without a fault, after a daemon with one."""
    daemon = Daemon()
    if not daemon.is_ready():
        status, lines = daemon.end()
        if status != REFUSED or "--accept-loss" not in lines:
            raise Wrong("does not open again: %s" % lines)
        client.lose()
        daemon = Daemon(["--accept-loss"])
        if not daemon.is_ready():
            raise Wrong("does not open with --accept-loss: %s" % daemon.end()[1])
    handle = connect()
    client.check(handle)
    client.load(handle)
    handle.shutdown()
    status, lines = daemon.end()
    if status != OK:
        raise Wrong("does not stop well without a fault: %s" % lines)
    want_sound("image.seal")


def serve(fault, prepare=None):
    client = Client()
    shutil.copyfile("pristine.seal", "image.seal")
    if prepare:
        prepare(client)
    daemon = Daemon(fault=fault)
    ready = daemon.is_ready()
    if ready:
        use(client)
    status, lines = daemon.end()
    if not ready or status not in (OK, FAILED):
        want_clear(status, lines, 2)  # and perhaps that the image could not be closed
    elif status == FAILED and "error: " not in lines:
        raise Wrong("exit status 1, and no word about it: %s" % lines)
    elif fault.group is None and status != OK:
        raise Wrong("does not work without a fault: %s" % lines)
    kept = counts()
    open_again(client)
    with open("counts", "r+b") as file:
        file.write(struct.pack(COUNTS, *kept))


def die_before(client):
    """A daemon that dies with places to punch, and entries in its dirty file."""
    daemon = Daemon()
    if not daemon.is_ready():
        raise Wrong("does not start: %s" % daemon.end()[1])
    handle = connect()
    client.load(handle)
    client.trim(handle, 0)
    client.change(handle, 1)
    daemon.process.kill()
    daemon.end()


def recover(fault):
    serve(fault, die_before)


def want_a_key(rotated):
    """The old key or the new one opens the image, and only the new one once it was said so."""
    kept = counts()
    keys = [key for key in ("key", "newkey")
            if run([BUILD + "/sealblk", "key", "export", "--key-file", key, "image.seal"])[0] == OK]
    with open("counts", "r+b") as file:
        file.write(struct.pack(COUNTS, *kept))
    if not keys or (rotated and keys != ["newkey"]):
        raise Wrong("opened by %s, rotated: %s" % (keys or "no key", rotated))


ROTATE = ("key", "rotate", "--key-file", "key", "--new-key-file", "newkey", "image.seal")


def rotate(fault):
    shutil.copyfile("pristine.seal", "image.seal")
    status, _, errors = run([BUILD + "/sealblk", *ROTATE], fault)
    want_a_key(status == OK)
    if status != OK:
        want_clear(status, errors)


def rotate_live(fault):
    shutil.copyfile("pristine.seal", "image.seal")
    daemon = Daemon(fault=fault)
    if not daemon.is_ready():
        want_clear(*daemon.end(), 2)
        return
    status, _, errors = run([BUILD + "/sealblk", *ROTATE])
    end_status, lines = daemon.end()
    if end_status not in (OK, FAILED):
        want_clear(end_status, lines, 2)
    want_a_key(status == OK)
    if status != OK:
        want_clear(status, errors)


def say_policy(on):
    with open("policy.json", "w", encoding="utf-8") as file:
        json.dump({"encryption": on}, file)


def wait_for_word(daemon, *words):
    end = time.monotonic() + HANG_S
    while not any(word in daemon.said() for word in words):
        if daemon.process.poll() is not None:
            return
        if time.monotonic() > end:
            raise Wrong("says nothing to SIGHUP: %s" % daemon.said())
        time.sleep(0.002)


def is_on():
    kept = counts()
    out = run([BUILD + "/sealblk", "encryption", "status", "--json", "image.seal"])[1]
    with open("counts", "r+b") as file:
        file.write(struct.pack(COUNTS, *kept))
    return json.loads(out)["enabled"]


def policy(fault):
    """Off at the start, on at a SIGHUP, events followed meanwhile."""
    shutil.copyfile("pristine.seal", "image.seal")
    say_policy(False)
    daemon = Daemon(["--policy", "policy.json"], fault)
    if not daemon.is_ready():
        want_clear(*daemon.end(), 2)
    else:
        with subprocess.Popen([BUILD + "/sealblk", "events", "image.seal"], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as follower:
            say_policy(True)
            daemon.process.send_signal(signal.SIGHUP)
            wait_for_word(daemon, "read again", "the policy in force stays")
            said = daemon.said()
            status, lines = daemon.end()
            follower.wait(HANG_S)
        if status not in (OK, FAILED):
            want_clear(status, lines, 2)
        if "read again: encryption on, 1 switched, 0 failed" in said and not is_on():
            raise Wrong("said to be switched on, and it is off: %s" % said)
        if "stays as it is" in said and is_on():
            raise Wrong("switched on by a policy that was refused: %s" % said)
        if fault.group is None and "1 switched, 0 failed" not in said:
            raise Wrong("does not work without a fault: %s" % said)
    kept = counts()
    open_again(Client())
    with open("counts", "r+b") as file:
        file.write(struct.pack(COUNTS, *kept))


SCENARIOS = {
    "create": create,
    "info": report("info", "--json", "pristine.seal"),
    "map": report("map", "--json", "pristine.seal"),
    "check": report("check", "--key-file", "key", "pristine.seal"),
    "serve": serve,
    "recover": recover,
    "rotate": rotate,
    "rotate_live": rotate_live,
    "policy": policy,
}


# ---- the loop ----------------------------------------------------------------------------------

def all_faults(calls):
    for group, nr_calls in zip(GROUPS, calls):
        for number in range(FIRST.get(group, 1), nr_calls + 1):
            for error in ERRORS[group]:
                yield Fault(group, number, error)
                yield Fault(group, number, error, True)
            for error in ONCE_ONLY.get(group, ()):
                yield Fault(group, number, error)


def parse_fault(words):
    return Fault(words[0], int(words[1]), int(words[2]), words[3:] == ["on"])


def choose(scenario, seed):
    """Of each group in turn, so that the many allocations do not crowd out the rest."""
    SCENARIOS[scenario](Fault())
    by_group = {}
    for fault in all_faults(counts()):
        by_group.setdefault(fault.group, []).append(fault)
    for faults in by_group.values():
        random.Random(seed).shuffle(faults)
    while by_group:
        for group in list(by_group):
            if by_group[group]:
                yield scenario, by_group[group].pop()
            else:
                del by_group[group]


def prepare():
    os.mkdir("new")
    for name in ("key", "newkey"):
        with open(name, "wb") as file:
            file.write(os.urandom(64))
    with open("base.raw", "wb") as file:
        file.write(b"B" * 4 * MIB)
    status, _, errors = run([BUILD + "/sealblk", "create", "--base", "base.raw", "--key-file",
                             "key", "pristine.seal"])
    if status != OK:
        raise SystemExit(errors)
    with open("pristine.seal", "rb") as file:
        return file.read()


def try_one(scenario, fault, tally):
    try:
        SCENARIOS[scenario](fault)
    except Wrong as wrong:
        tally["wrong"] += 1
        print("wrong: --only %s:%s: %.300s" % (scenario, fault, wrong), flush=True)
        for name in os.listdir("new"):
            os.unlink("new/" + name)
    for process in Daemon.started:
        process.kill()
        process.wait()
    Daemon.started.clear()
    tally["runs"] += 1
    tally["failed"] += counts()[len(GROUPS)] > 0


def loop(args):
    tally = {"runs": 0, "wrong": 0, "failed": 0}
    if args.only and ":" in args.only:
        scenario, *words = args.only.split(":")
        try_one(scenario, parse_fault(words), tally)
        return tally
    names = [args.only] if args.only else list(SCENARIOS)
    lines = [choose(name, args.seed) for name in names]
    end = time.monotonic() + args.seconds if args.seconds else None
    while lines and (not end or time.monotonic() < end):
        for line in list(lines):
            chosen = next(line, None)
            if chosen:
                try_one(*chosen, tally)
            else:
                lines.remove(line)
    left = "a choice" if lines else "all"
    print("figures: %d runs of %d scenarios (%s), %d with a call that failed, %d wrong"
          % (tally["runs"], len(names), left, tally["failed"], tally["wrong"]))
    return tally


# ---- no allocations on the data path -------------------------------------------------------------

def send_one(handle, chance, steady):
    """steady: only what needs no map block, which reads and overwrites do not."""
    offset = chance.randrange(4 * MIB // 4096 - 64) * 4096
    size = chance.choice((512, 4096, 65536, 262144))
    flags = 0 if steady else chance.choice((0, 0, 0, nbd.CMD_FLAG_FUA))
    kind = chance.randrange(4 if steady else 8)
    if kind < 2:
        data = nbd.Buffer.from_bytearray(bytearray(b"x" * size))
        return handle.aio_pwrite(data, offset, flags=flags)
    if kind == 2:
        return handle.aio_pread(nbd.Buffer(size), offset)
    if kind == 3:
        return handle.aio_block_status(size, offset, lambda *_: 0)
    if kind == 4:
        return handle.aio_trim(size, offset, flags=flags)
    if kind == 5:
        return handle.aio_zero(size, offset,
                               flags=flags | chance.choice((0, nbd.CMD_FLAG_NO_HOLE)))
    return handle.aio_flush()


def load_all(handles, steady):
    """Some of everything, a request on each connection at a time. Returns the allocations."""
    chance = random.Random(1)
    before = counts()
    for _ in range(150):
        cookies = [(handle, send_one(handle, chance, steady)) for handle in handles]
        for handle, cookie in cookies:
            while not handle.aio_command_completed(cookie):
                handle.poll(-1)
    time.sleep(1.5)  # a round by itself, and its sweep
    after = counts()
    if after[GROUPS.index("write")] - before[GROUPS.index("write")] < 100:
        raise SystemExit("the counts make no sense")
    return after[-2] - before[-2], after[-1] - before[-1]


def connect_many():
    handles = []
    for _ in range(8):
        handle = nbd.NBD()
        handle.add_meta_context("base:allocation")
        handle.connect_uri("nbd+unix:///?socket=sock")
        handles.append(handle)
    return handles


def allocations(_):
    """OpenSSL allocates in each MAC of a map block (crypt/mac.h), so there in a round only."""
    wrong = 0
    for xts in ("auto", "openssl"):
        shutil.copyfile("pristine.seal", "image.seal")
        daemon = Daemon(["--xts", xts], Fault())
        if not daemon.is_ready():
            raise SystemExit(daemon.end()[1])
        handles = connect_many()
        handles[0].pwrite(b"y" * 4 * MIB, 0, nbd.CMD_FLAG_FUA)
        if counts()[-2] == 0:
            raise SystemExit("the counts make no sense: connections are allocated for")
        time.sleep(2.5)  # until the round has come that writes the blocks' other slots
        steady = load_all(handles, True)
        mixed = load_all(handles, False)
        print("allocations by threads, --xts %s: overwrites and reads %d, of all kinds %d "
              "(and by OpenSSL for MACs %d)" % (xts, sum(steady), mixed[0], mixed[1]))
        wrong += sum(steady) + mixed[0]
        for handle in handles:
            handle.shutdown()
        if daemon.end()[0] != OK:
            raise SystemExit("the daemon did not end well")
    return {"wrong": wrong}


def main():
    global BUILD, PRISTINE
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("loop")
    command.add_argument("--seconds", type=float)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--only")
    command.add_argument("build")
    commands.add_parser("allocations").add_argument("build")
    args = parser.parse_args()
    BUILD = os.path.abspath(args.build)
    PRISTINE = prepare()
    tally = {"loop": loop, "allocations": allocations}[args.command](args)
    raise SystemExit(1 if tally["wrong"] else 0)


main()
