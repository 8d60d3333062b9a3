#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs a command beside clients that write and trim all the time.

    trims_beside.py SOCKET STATE SECONDS COMMAND...

The command must end well within SECONDS, counted from its start. Prints how long
it took.
"""
import subprocess
import sys
import time

import end_under_load


class TrimLoad(end_under_load.Load):
    """There is always something to punch: half of all requests give places up."""

    def issue(self, handle):
        chosen = self.free_range()
        if not chosen:
            return
        first, count = chosen
        self.busy[first:first + count] = b"\1" * count
        self.change(handle, self.random.choice(("write", "trim")), first, count)


def main():
    socket, state, seconds, *command = sys.argv[1:]
    probe = end_under_load.connect(socket)
    load = TrimLoad(socket, end_under_load.Model(state, None, probe.get_size() // 512), 1)
    start = time.monotonic()
    with subprocess.Popen(command) as process:
        while process.poll() is None and time.monotonic() < start + float(seconds):
            load.turn()
        if process.poll() is None:
            process.kill()
            sys.exit("%s: not over after %s s" % (" ".join(command), seconds))
    if load.failures or process.returncode:
        sys.exit("exit %d, %s" % (process.returncode, load.failures[:3]))
    print("%.1f" % (time.monotonic() - start))


if __name__ == "__main__":
    main()
