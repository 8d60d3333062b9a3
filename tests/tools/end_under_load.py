#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Many requests in flight, the end of the daemon in their midst, and the check.

    end_under_load.py load [--signal NAME] SOCKET STATE SEED SECONDS PID [BASE.raw]
    end_under_load.py check SOCKET STATE [BASE.raw]

load writes, trims, zeroes, reads and flushes at random over several
connections, sends PID a signal (KILL) after SECONDS, and keeps in STATE what
was acknowledged. check, against the restarted daemon, wants each sector to hold
what was acknowledged last, or what was on its way when the daemon ended.
"""
import json
import os
import random
import select
import signal
import sys
import time

import nbd

SECTOR = 512
CONNECTIONS = 4
IN_FLIGHT = 12  # per connection
ORIGINAL, ZEROS = 0, -1  # versions; writes count from 1


class Model:
    """What each sector holds: one version, or while it is being changed one of two."""

    def __init__(self, path, base, sectors):
        self.path = path
        self.base = open(base, "rb").read() if base else b""
        self.held = [ORIGINAL] * sectors
        self.next_version = 1
        if os.path.exists(path):
            kept = json.load(open(path))
            self.held, self.next_version = kept["held"], kept["next_version"]
        self.coming = {}

    def save(self):
        with open(self.path, "w") as file:
            json.dump({"held": self.held, "next_version": self.next_version,
                       "coming": self.coming}, file)

    def bytes_of(self, sector, version):
        if version == ORIGINAL:
            return self.base[sector * SECTOR:(sector + 1) * SECTOR].ljust(SECTOR, b"\0")
        if version == ZEROS:
            return bytes(SECTOR)
        return b"%015d;%015d;" % (sector, version) * (SECTOR // 32)

    def holds(self, sector, data):
        return data == self.bytes_of(sector, self.held[sector])


class Load:
    def __init__(self, socket, model, seed):
        self.random = random.Random(seed)
        self.model = model
        self.handles = [connect(socket) for _ in range(CONNECTIONS)]
        self.busy = bytearray(len(model.held))  # sectors some request is about
        self.ended = False
        self.failures = []
        self.acknowledged = 0

    def fail(self, text):
        self.failures.append(text)

    def free_range(self):
        longest = 2000 if self.random.random() < 0.02 else 16
        count = self.random.randint(1, longest)
        first = self.random.randrange(len(self.busy) - count + 1)
        if any(self.busy[first:first + count]):
            return None
        return first, count

    def issue(self, handle):
        kind = self.random.choices(("write", "trim", "zero", "read", "flush"),
                                   (60, 12, 6, 20, 2))[0]
        if kind == "flush":
            handle.aio_flush(completion=self.done_flush)
            return
        chosen = self.free_range()
        if not chosen:
            return
        first, count = chosen
        self.busy[first:first + count] = b"\1" * count
        if kind == "read":
            data = nbd.Buffer(count * SECTOR)
            handle.aio_pread(data, first * SECTOR,
                             completion=lambda error: self.done_read(error, first, count, data))
        else:
            self.change(handle, kind, first, count)

    def change(self, handle, kind, first, count):
        flags = nbd.CMD_FLAG_FUA if self.random.random() < 0.02 else 0
        version = ZEROS
        if kind == "write":
            version = self.model.next_version
            self.model.next_version += 1
        for sector in range(first, first + count):
            self.model.coming[sector] = version

        def done(error):
            return self.done_change(error, first, count, version)

        if kind == "write":
            data = b"".join(self.model.bytes_of(sector, version)
                            for sector in range(first, first + count))
            handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)), first * SECTOR,
                              completion=done, flags=flags)
        elif kind == "trim":
            handle.aio_trim(count * SECTOR, first * SECTOR, completion=done, flags=flags)
        else:
            if self.random.random() < 0.3:
                flags |= nbd.CMD_FLAG_NO_HOLE
            handle.aio_zero(count * SECTOR, first * SECTOR, completion=done, flags=flags)

    def went_wrong(self, error, what):
        if error.value and not self.ended:
            self.fail("%s: %s" % (what, os.strerror(error.value)))
        return error.value != 0

    def done_flush(self, error):
        self.went_wrong(error, "flush")
        return 1

    def done_read(self, error, first, count, data):
        if not self.went_wrong(error, "read of sector %d" % first):
            read = bytes(data.to_bytearray())
            for i in range(count):
                if not self.model.holds(first + i, read[i * SECTOR:(i + 1) * SECTOR]):
                    self.fail("sector %d read wrong while running" % (first + i))
        self.busy[first:first + count] = bytes(count)
        return 1

    def done_change(self, error, first, count, version):
        if not self.went_wrong(error, "change of sector %d" % first):
            for sector in range(first, first + count):
                self.model.held[sector] = version
                del self.model.coming[sector]
            self.busy[first:first + count] = bytes(count)
            self.acknowledged += 1
        return 1

    def turn(self):
        poll = select.poll()
        by_fd = {}
        for handle in self.handles:
            while handle.aio_in_flight() < IN_FLIGHT:
                self.issue(handle)
            events = select.POLLIN
            if handle.aio_get_direction() & nbd.AIO_DIRECTION_WRITE:
                events |= select.POLLOUT
            by_fd[handle.aio_get_fd()] = handle
            poll.register(handle.aio_get_fd(), events)
        for fd, events in poll.poll(100):
            if events & select.POLLIN:
                by_fd[fd].aio_notify_read()
            elif events & select.POLLOUT:
                by_fd[fd].aio_notify_write()

    def run(self, seconds, pid, sign):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.failures:
            self.turn()
        self.ended = True
        os.kill(pid, sign)
        # Replies that are still in the sockets count as not received.
        self.model.save()


def connect(socket):
    handle = nbd.NBD()
    handle.connect_uri("nbd+unix:///?socket=" + socket)
    return handle


def load(sign, socket, state, seed, seconds, pid, base=None):
    probe = connect(socket)
    model = Model(state, base, probe.get_size() // SECTOR)
    probe.shutdown()
    run = Load(socket, model, seed)
    run.run(float(seconds), int(pid), sign)
    print("ended after %s s: %d changes acknowledged, %d sectors under way"
          % (seconds, run.acknowledged, len(model.coming)))
    return run.failures


def check(socket, state, base=None, kind=Model):
    handle = connect(socket)
    size = handle.get_size()
    model = kind(state, base, size // SECTOR)
    coming = {int(s): v for s, v in json.load(open(state))["coming"].items()}
    failures = []
    piece = 1 << 20
    for start in range(0, size, piece):
        data = handle.pread(min(piece, size - start), start)
        for at in range(0, len(data), SECTOR):
            sector = (start + at) // SECTOR
            seen = data[at:at + SECTOR]
            if model.holds(sector, seen):
                continue
            version = coming.get(sector)
            if version is not None and seen == model.bytes_of(sector, version):
                model.held[sector] = version
            else:
                failures.append("sector %d: wanted version %d%s, begins with %r"
                                % (sector, model.held[sector],
                                   "" if version is None else " or %d" % version, seen[:32]))
    handle.shutdown()
    model.save()
    return failures


def main():
    verb, arguments = sys.argv[1], sys.argv[2:]
    sign = signal.SIGKILL
    if arguments[0] == "--signal":
        sign = signal.Signals["SIG" + arguments[1]]
        arguments = arguments[2:]
    failures = check(*arguments) if verb == "check" else load(sign, *arguments)
    for text in failures[:10]:
        print(text, file=sys.stderr)
    if failures:
        print("%d failures" % len(failures), file=sys.stderr)
    # Past the handles' destructors, which wait for a daemon that is gone.
    sys.stdout.flush()
    os._exit(1 if failures else 0)


if __name__ == "__main__":
    main()
