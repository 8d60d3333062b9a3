# SPDX-License-Identifier: MIT
"""How a server is set up, started, measured and ended; sealblkd in each of its roles.

Each server has a folder of its own. Most are filled once and then stay as they are: all
data lies where the server put it. A `fresh` one is an overlay over a plaintext base that
is made anew before a load when anything has been written to it.
"""
import os
import shutil
import signal
import subprocess
import time

import loads
import places

NO_DEVICE = "there is no device behind tmpfs"
START_S = 20
STOP_S = 60
CPUCLOCK_SCHED = 2      # of clock_getcpuclockid(3), which Python does not have


class Server:
    name = "?"
    needs = ()              # programs
    fresh = False
    leaves_out = ()         # loads that make no sense on it
    export = ""

    def __init__(self, place, base, build):
        self.base = base    # the raw bytes of the disk
        self.build = build
        self.folder = os.path.join(place, self.name)
        self.socket = self.path("s")
        self.process = None
        self.written = False
        self.peak_rss_mib = None
        os.mkdir(self.folder)

    # ---- what each kind of server says of itself

    def why_not(self):
        """Why it cannot run here, or None."""
        missing = [program for program in self.needs if not shutil.which(program)]
        return "needs " + ", ".join(missing) if missing else None

    def prepare(self):
        """Makes the disk."""

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {"XDG_RUNTIME_DIR": self.folder}

    # ---- its life

    def path(self, name):
        return os.path.join(self.folder, name)

    def uri(self):
        return f"nbd+unix:///{self.export}?socket={self.socket}"

    def start(self):
        self.prepare()
        with open(self.path("log"), "ab") as log:
            # A session of its own: Ctrl-C reaches the bench alone, which then ends its servers.
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=log, start_new_session=True,
                                            env={**os.environ, **self.environment()})
        if not self.answers():
            self.stop()
            with open(self.path("log"), encoding="utf-8", errors="replace") as log:
                said = log.read().split("\n")
            raise RuntimeError("it did not start: " + " / ".join(filter(None, said))[-300:])

    def answers(self):
        end = time.monotonic() + START_S
        while time.monotonic() < end and not self.process.poll():
            if subprocess.run(["nbdinfo", "--size", self.uri()], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0:
                return True
            time.sleep(0.02)
        return False

    def pid(self):
        return self.process.pid

    def stop(self):
        if not self.process:
            return
        self.note_rss()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def renew(self):
        """A fresh server that has been written to becomes fresh again."""
        self.stop()
        for entry in os.scandir(self.folder):
            if entry.is_dir():
                shutil.rmtree(entry.path)
            elif entry.name != "log":
                os.unlink(entry.path)
        self.start()
        self.written = False

    # ---- measuring

    def cpu_s(self):
        """User and system seconds of all its threads so far, of those that ended as well."""
        return time.clock_gettime((~self.pid() << 3) | CPUCLOCK_SCHED)

    def note_rss(self):
        try:
            with open(f"/proc/{self.pid()}/status", encoding="ascii") as status:
                peak = [int(line.split()[1]) / 1024 for line in status
                        if line.startswith("VmHWM")]
        except OSError:
            return
        self.peak_rss_mib = max([self.peak_rss_mib or 0, *peak])

    def program(self):
        return os.path.join(self.build, "tests", "nbdload")

    def fill(self):
        loads.generate(self.program(), self.uri(), loads.FILL, loads.HANG_S,
                       os.path.getsize(self.base))

    def measure(self, load, seconds):
        if self.fresh and self.written:
            self.renew()
        self.written |= load.writes
        before = self.cpu_s()
        if load.kind.startswith("copy"):
            measurement = loads.copy(load, self.uri(), self.base)
        else:
            measurement = loads.generate(self.program(), self.uri(), load, seconds,
                                         once=self.fresh and load.writes)
        measurement.cpu_s = self.cpu_s() - before
        return measurement


class Sealed(Server):
    """Every sector is sealed: the fill wrote all of them."""
    name = "sealed"
    options = ()
    create_options = ()

    def prepare(self):
        with open(os.open(self.path("key"), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as key:
            key.write(os.urandom(64))
        loads.output_of(os.path.join(self.build, "sealblk"), "create", "--base",
                        self.base + ":raw", "--key-file", self.path("key"),
                        *self.create_options, self.path("vm.seal"))

    def command(self):
        return [os.path.join(self.build, "sealblkd"), "--socket", self.socket, "--key-file",
                self.path("key"), *self.options, self.path("vm.seal")]


class Plain(Sealed):
    """Encryption is off: all lies in a plain plane."""
    name = "plain"
    create_options = ("--encryption", "off")


class SealedLibaio(Sealed):
    name = "sealed-libaio"
    options = ("--io-engine", "libaio")

    def why_not(self):
        if "libaio" in loads.output_of(os.path.join(self.build, "sealblkd"), "--help"):
            return None
        return "this sealblkd has no --io-engine libaio"


class SealedOneWorker(Sealed):
    name = "sealed-1-worker"
    options = ("--workers", "1")


class SealedFourWorkers(Sealed):
    name = "sealed-4-workers"
    options = ("--workers", "4")


class SealedDirect(Sealed):
    """Past the page cache: what a device can do, which the cached ones do not show."""
    name = "sealed-direct"
    options = ("--cache", "none")

    def why_not(self):
        return NO_DEVICE if places.is_memory(self.folder) else None


class SealedFresh(Sealed):
    """Reads come from the base, and each write is the first of its sectors."""
    name = "sealed-fresh"
    fresh = True


SERVERS = [Sealed, Plain, SealedLibaio, SealedOneWorker, SealedFourWorkers, SealedDirect,
           SealedFresh]
