# SPDX-License-Identifier: MIT
"""What a user would pick instead of sealblkd, and the ceilings: what no server can pass."""
import os
import shutil
import signal
import time

import loads
import places
from servers import NO_DEVICE, STOP_S, Server

LUKS_TRIES = 20
LUKS_OPTIONS = "iter-time=100"      # milliseconds: opening it is not what is measured
SECRET = ("--object", "secret,id=s,data=bench")
TICKS_S = os.sysconf("SC_CLK_TCK")


def make_luks(*arguments):
    """qemu's key derivation times itself, and gives up on a coarse clock: try again."""
    for attempt in range(LUKS_TRIES):
        try:
            return loads.output_of("qemu-img", "create", "-q", *SECRET, *arguments)
        except RuntimeError:
            if attempt == LUKS_TRIES - 1:
                raise


class CopyOfBase(Server):
    """Has a plain copy of the disk's bytes."""

    def prepare(self):
        shutil.copyfile(self.base, self.path("plain.raw"))


class LuksFile(Server):
    def prepare(self):
        make_luks("-f", "luks", "-o", "key-secret=s," + LUKS_OPTIONS, self.path("luks"),
                  os.path.getsize(self.base))


# ---- nbdkit

class Nbdkit(Server):
    needs = ("nbdkit",)
    plugin = ()

    def command(self):
        return ["nbdkit", "-f", "-U", self.socket, *self.plugin]


class NbdkitFile(CopyOfBase, Nbdkit):
    name = "nbdkit-file"

    @property
    def plugin(self):
        return "file", self.path("plain.raw")


class NbdkitLuks(LuksFile, Nbdkit):
    name = "nbdkit-luks"
    needs = ("nbdkit", "qemu-img")

    @property
    def plugin(self):
        return "file", self.path("luks"), "--filter=luks", "passphrase=bench"


class NbdkitCow(Nbdkit):
    name = "nbdkit-cow-fresh"
    fresh = True
    leaves_out = ("writeflush-4K-qd1",)     # its overlay is temporary: it syncs nothing

    @property
    def plugin(self):
        return "file", self.base, "--filter=cow"

    def environment(self):
        return {"TMPDIR": self.folder}      # of the overlay, which has no name


class NbdkitMemory(Nbdkit):
    name = "nbdkit-memory"

    @property
    def plugin(self):
        return "memory", str(os.path.getsize(self.base))


class NbdkitNull(Nbdkit):
    name = "nbdkit-null"
    leaves_out = ("copy-out",)      # nbdcopy is told that it is all holes, and reads nothing

    @property
    def plugin(self):
        return "null", str(os.path.getsize(self.base))


# ---- qemu-nbd

class QemuNbd(Server):
    needs = ("qemu-nbd", "qemu-img")
    disk = ()
    cache = "writeback"

    def command(self):
        return ["qemu-nbd", "--persistent", "--shared=16", "--socket", self.socket,
                "--aio=io_uring", f"--cache={self.cache}", "--discard=unmap", *self.disk]


class QemuRaw(CopyOfBase, QemuNbd):
    name = "qemu-raw"

    @property
    def disk(self):
        return "--format=raw", self.path("plain.raw")


class QemuRawDirect(QemuRaw):
    """The only peer that can go past the page cache as well: beside sealed-direct."""
    name = "qemu-raw-direct"
    cache = "none"

    def why_not(self):
        return NO_DEVICE if places.is_memory(self.folder) else super().why_not()


class QemuLuks(LuksFile, QemuNbd):
    name = "qemu-luks"

    @property
    def disk(self):
        return (*SECRET, "--image-opts",
                f"driver=luks,key-secret=s,file.driver=file,file.filename={self.path('luks')}")


class QemuOverlay(QemuNbd):
    """An overlay of qcow2 with LUKS inside, over the plaintext base."""
    name = "qemu-overlay"

    def prepare(self):
        make_luks("-f", "qcow2", "-b", self.base, "-F", "raw", "-o",
                  "encrypt.format=luks,encrypt.key-secret=s,encrypt." + LUKS_OPTIONS,
                  self.path("qcow2"))

    @property
    def disk(self):
        return (*SECRET, "--image-opts",
                f"driver=qcow2,file.driver=file,file.filename={self.path('qcow2')},"
                "encrypt.format=luks,encrypt.key-secret=s")


class QemuOverlayFresh(QemuOverlay):
    name = "qemu-overlay-fresh"
    fresh = True


# ---- nbd-server

class NbdServer(CopyOfBase):
    """It goes to the background, and serves each connection by a process of its own."""
    name = "nbd-server"
    needs = ("nbd-server",)
    export = "disk"

    def prepare(self):
        super().prepare()
        with open(self.path("conf"), "w", encoding="utf-8") as conf:
            conf.write(f"[generic]\nunixsock = {self.socket}\n"
                       f"[disk]\nexportname = {self.path('plain.raw')}\nflush = true\n")

    def command(self):
        return ["nbd-server", "-C", self.path("conf"), "-p", self.path("pid")]

    def pid(self):
        with open(self.path("pid"), encoding="ascii") as pid:
            return int(pid.read())

    def cpu_s(self):
        """Its own and, to a tick of 10 ms, that of the processes it has waited for."""
        pid = self.pid()
        end = time.monotonic() + 1
        while self.children(pid) and time.monotonic() < end:
            time.sleep(0.001)
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) / TICKS_S

    @staticmethod
    def children(pid):
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            return children.read().split()

    def note_rss(self):
        """The processes that do the work are gone by now: not known."""

    def stop(self):
        if not self.process:
            return
        self.process.wait()
        try:
            pid = self.pid()
            os.kill(pid, signal.SIGTERM)
            end = time.monotonic() + STOP_S
            while os.path.exists(f"/proc/{pid}") and time.monotonic() < end:
                time.sleep(0.01)
        except (OSError, ValueError):
            pass        # it never got so far, or has ended
        self.process = None


# ---- ceilings that are no servers

class Ceiling(Server):
    def start(self):
        self.prepare()

    def fill(self):
        """It has all of it from the beginning."""

    def note_rss(self):
        """It is no process that stays."""

    def output(self, what, load, seconds):
        return loads.parse_pairs(loads.output_of(
            os.path.join(self.build, "tests", "ceilings"), what, load.block, load.depth, seconds,
            seconds=seconds), load)


class FioFile(CopyOfBase, Ceiling):
    """pread, pwrite and fdatasync by one thread, on a file beside the servers' files."""
    name = "fio-file"
    needs = ("fio",)
    leaves_out = tuple(load.name for load in loads.LOADS
                       if load.kind.startswith("copy") or load.small and load.depth > 1)

    def measure(self, load, seconds):
        return loads.fio(self.path("plain.raw"), load, seconds)


class UnixSocket(Ceiling):
    """A unix socket with NBD's pattern: small requests, and answers with a block of data."""
    name = "unix-socket"
    leaves_out = tuple(load.name for load in loads.LOADS
                       if not load.kind.endswith("read") or load.conns > 1)

    def measure(self, load, seconds):
        return self.output("socket", load, seconds)


class Memcpy(Ceiling):
    name = "memcpy"
    leaves_out = tuple(load.name for load in loads.LOADS
                       if load.kind not in ("read", "write"))

    def measure(self, load, seconds):
        return self.output("memcpy", load, seconds)


UNENCRYPTED = [NbdkitFile, NbdServer, QemuRaw]  # cached, as sealed is
DIRECT = [QemuRawDirect]
ENCRYPTED = [NbdkitLuks, QemuLuks, QemuOverlay]
OVERLAYS = [NbdkitCow, QemuOverlayFresh]
CEILINGS = [NbdkitMemory, NbdkitNull, FioFile, UnixSocket, Memcpy]
