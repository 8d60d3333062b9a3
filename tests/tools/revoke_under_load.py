#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Keys are revoked and restored under many requests in flight.

    revoke_under_load.py rounds SOCKET STATE SEED ROUNDS SEALBLK IMAGE KEY
    revoke_under_load.py killed SOCKET STATE SEED SECONDS SEALBLK IMAGE KEY PID

The load is end_under_load.py's, whose `check` is for afterwards. rounds: each
request must be answered as ever, or with EPERM and then have changed nothing; once
`key revoke` has returned, all of them on all connections with EPERM; once
`key restore` has, none, and every sector is as it was acknowledged. killed: the
keys come and go all the time, until PID is killed after SECONDS.
"""
import errno
import os
import signal
import subprocess
import sys
import time

import end_under_load
import nbd


class RevokedLoad(end_under_load.Load):
    def __init__(self, socket, model, seed):
        super().__init__(socket, model, seed)
        self.nr_refused = 0
        self.may_refuse = False
        self.must_refuse = False
        self.refused_at = None  # the first time

    def went_wrong(self, error, what):
        if error.value == errno.EPERM and self.may_refuse:
            self.nr_refused += 1
            self.refused_at = self.refused_at or time.monotonic()
            return True
        if self.must_refuse and not error.value:
            self.fail("%s: done, though the keys are revoked" % what)
        return super().went_wrong(error, what)

    def done_change(self, error, first, count, version):
        if error.value == errno.EPERM and self.may_refuse:
            for sector in range(first, first + count):
                del self.model.coming[sector]
            self.busy[first:first + count] = bytes(count)
        return super().done_change(error, first, count, version)

    def settle(self):
        """Until every request is answered."""
        for handle in self.handles:
            while handle.aio_in_flight() > 0:
                handle.poll(100)

    def run_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.failures:
            self.turn()

    def run_beside(self, command):
        """The load goes on until @command, a list, has ended; it must end well."""
        start = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
            while process.poll() is None and not self.failures:
                self.turn()
        if process.returncode:
            self.fail("%s: exit %d" % (" ".join(command), process.returncode))
        return time.monotonic() - start

    def refuse_all(self):
        """Each kind of request on each connection."""
        for handle in self.handles:
            for what, call in (("read", lambda h=handle: h.pread(512, 0)),
                               ("write", lambda h=handle: h.pwrite(bytes(512), 0)),
                               ("flush", handle.flush),
                               ("trim", lambda h=handle: h.trim(512, 0)),
                               ("zero", lambda h=handle: h.zero(512, 0)),
                               ("cache", lambda h=handle: h.cache(512, 0))):
                try:
                    call()
                    self.fail("%s: done, though the keys are revoked" % what)
                except nbd.Error as error:
                    if error.errnum != errno.EPERM:
                        self.fail("%s: not EPERM: %s" % (what, error))

    def read_all(self):
        piece = 1 << 20
        handle = self.handles[0]
        for start in range(0, handle.get_size(), piece):
            data = handle.pread(min(piece, handle.get_size() - start), start)
            for at in range(0, len(data), end_under_load.SECTOR):
                sector = (start + at) // end_under_load.SECTOR
                if not self.model.holds(sector, data[at:at + end_under_load.SECTOR]):
                    self.fail("sector %d is not as acknowledged" % sector)


def rounds(load, nr, revoke, restore):
    slowest_revoke = slowest_restore = slowest_refusal = 0
    for _ in range(nr):
        load.run_for(0.1 + load.random.random() * 0.4)
        load.may_refuse, load.refused_at = True, None
        start = time.monotonic()
        slowest_revoke = max(slowest_revoke, load.run_beside(revoke))
        if load.refused_at:
            slowest_refusal = max(slowest_refusal, load.refused_at - start)
        load.settle()
        load.must_refuse = True
        load.run_for(0.05)
        load.settle()
        load.refuse_all()
        load.must_refuse = False
        slowest_restore = max(slowest_restore, load.run_beside(restore))
        load.settle()
        load.may_refuse = False
        load.read_all()
        if load.failures:
            break
    if not load.nr_refused:
        load.fail("no request was refused")
    load.settle()
    load.model.save()
    print("%d changes acknowledged, %d requests refused; slowest: first refusal after %d ms, "
          "revoked in %d ms, restored in %d ms"
          % (load.acknowledged, load.nr_refused, slowest_refusal * 1000, slowest_revoke * 1000,
             slowest_restore * 1000))


def killed(load, seconds, pid, revoke, restore):
    load.may_refuse = True
    end = time.monotonic() + seconds
    nr = 0
    while not load.failures and not load.ended:
        with subprocess.Popen((revoke, restore)[nr % 2], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            while process.poll() is None and not load.failures and not load.ended:
                load.turn()
                if time.monotonic() >= end:
                    load.ended = True
                    os.kill(pid, signal.SIGKILL)
        nr += 1
    load.model.save()
    print("killed in step %d: %d changes acknowledged, %d requests refused"
          % (nr, load.acknowledged, load.nr_refused))


def main():
    verb, socket, state, seed, amount, sealblk, image, key = sys.argv[1:9]
    probe = end_under_load.connect(socket)
    model = end_under_load.Model(state, None, probe.get_size() // end_under_load.SECTOR)
    probe.shutdown()
    load = RevokedLoad(socket, model, seed)
    revoke = [sealblk, "key", "revoke", image]
    restore = [sealblk, "key", "restore", "--key-file", key, image]
    if verb == "rounds":
        rounds(load, int(amount), revoke, restore)
    else:
        killed(load, float(amount), int(sys.argv[9]), revoke, restore)
    for text in load.failures[:10]:
        print(text, file=sys.stderr)
    # Past the handles' destructors, which wait for a daemon that is gone.
    sys.stdout.flush()
    os._exit(1 if load.failures else 0)


if __name__ == "__main__":
    main()
