# SPDX-License-Identifier: MIT
"""The servers that the bench compares: how each is set up and started.

A server is made in a folder of its own. `full`: every sector is in the overlay or
file before it counts, so data that should be encrypted is. `fresh`: made anew before
each load, so that reads come from the plaintext base and each write is a first one.
"""
import os
import shutil
import signal
import subprocess
import time

TICKS_S = os.sysconf("SC_CLK_TCK")


def run(*args, **kwargs):
    return subprocess.run(args, check=True, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, **kwargs)


def run_out(*args):
    """What it prints."""
    return subprocess.run([str(arg) for arg in args], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True).stdout


class Server:
    name = "?"
    needs = ()              # programs
    encrypts = False
    fresh = False
    export = ""

    def __init__(self, place, base, build):
        self.base = base    # raw bytes of the disk
        self.build = build
        self.folder = os.path.join(place, self.name.replace(" ", "-"))
        self.socket = os.path.join(self.folder, "s")
        self.process = None
        os.makedirs(self.folder)

    def missing(self):
        return [tool for tool in self.needs if not shutil.which(tool)]

    def path(self, name):
        return os.path.join(self.folder, name)

    def uri(self):
        return f"nbd+unix:///{self.export}?socket={self.socket}"

    def prepare(self):
        """Makes the disk."""

    def command(self):
        raise NotImplementedError

    def start(self):
        self.prepare()
        log = open(self.path("log"), "ab")
        env = dict(os.environ, XDG_RUNTIME_DIR=self.folder)
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, env=env)
        for _ in range(200):
            if subprocess.run(["nbdinfo", "--size", self.uri()], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0:
                return
            if self.process.poll():
                break
            time.sleep(0.05)
        with open(self.path("log"), encoding="utf-8", errors="replace") as said:
            raise RuntimeError("it did not start: " + said.read().strip()[-300:])

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None

    def renew(self):
        """For the next load of a fresh server."""
        self.stop()
        for name in os.listdir(self.folder):
            if name != "log":
                path = self.path(name)
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
        self.start()

    def pid(self):
        return self.process.pid

    def cpu_s(self):
        """Of the process and of the children it has waited for."""
        with open(f"/proc/{self.pid()}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:15])) / TICKS_S

    def rss_mib(self):
        with open(f"/proc/{self.pid()}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmHWM"):
                    return int(line.split()[1]) / 1024
        return 0


class Sealed(Server):
    name = "sealblkd"
    encrypts = True
    options = ()

    def prepare(self):
        with open(self.path("key"), "wb") as key:
            key.write(os.urandom(64))
        run(self.build + "/sealblk", "create", "--base", self.base + ":raw", "--key-file",
            self.path("key"), self.path("vm.seal"))

    def command(self):
        return [self.build + "/sealblkd", "--socket", self.socket, "--key-file",
                self.path("key"), *self.options, self.path("vm.seal")]


class Plain(Sealed):
    name = "sealblkd plain"
    encrypts = False

    def prepare(self):
        super().prepare()
        run(self.build + "/sealblk", "encryption", "off", "--key-file", self.path("key"),
            self.path("vm.seal"))


class Libaio(Sealed):
    name = "sealblkd libaio"
    options = ("--io-engine", "libaio")


class OneWorker(Sealed):
    name = "sealblkd 1 worker"
    options = ("--workers", "1")


class FourWorkers(Sealed):
    name = "sealblkd 4 workers"
    options = ("--workers", "4")


class SealedFresh(Sealed):
    name = "sealblkd fresh"
    fresh = True


class NbdkitFile(Server):
    name = "nbdkit file"
    needs = ("nbdkit",)

    def prepare(self):
        shutil.copyfile(self.base, self.path("plain.raw"))

    def command(self):
        return ["nbdkit", "-f", "-U", self.socket, "file", self.path("plain.raw")]


class NbdkitLuks(Server):
    name = "nbdkit luks"
    needs = ("nbdkit", "qemu-img")
    encrypts = True

    def prepare(self):
        make_luks(self, ["-f", "luks", "-o", "key-secret=s,iter-time=100", self.path("luks")])

    def command(self):
        return ["nbdkit", "-f", "-U", self.socket, "file", self.path("luks"), "--filter=luks",
                "passphrase=bench"]


class NbdkitCow(Server):
    name = "nbdkit cow"
    needs = ("nbdkit",)
    fresh = True

    def command(self):
        return ["env", "TMPDIR=" + self.folder, "nbdkit", "-f", "-U", self.socket, "file",
                self.base, "--filter=cow"]


class NbdServer(Server):
    name = "nbd-server"
    needs = ("nbd-server",)
    export = "disk"

    def prepare(self):
        shutil.copyfile(self.base, self.path("plain.raw"))
        with open(self.path("conf"), "w", encoding="ascii") as conf:
            conf.write(f"[generic]\nunixsock = {self.socket}\nlistenaddr = 127.0.0.1\n"
                       f"port = 10899\nuser = root\ngroup = root\n"
                       f"[disk]\nexportname = {self.path('plain.raw')}\n")

    def command(self):
        return ["nbd-server", "-C", self.path("conf"), "-p", self.path("pid")]

    def pid(self):
        """It goes to the background, and forks for each connection."""
        with open(self.path("pid"), encoding="ascii") as pid:
            return int(pid.read())

    def stop(self):
        if not self.process:
            return
        self.process.wait()
        os.kill(self.pid(), signal.SIGTERM)
        while os.path.exists(self.path("pid")):  # removed when it ends
            time.sleep(0.01)
        self.process = None


class QemuRaw(Server):
    name = "qemu-nbd raw"
    needs = ("qemu-nbd",)

    def prepare(self):
        shutil.copyfile(self.base, self.path("plain.raw"))

    def command(self):
        return ["qemu-nbd", "-t", "-k", self.socket, "--aio=io_uring", "--cache=writeback",
                "-f", "raw", self.path("plain.raw")]


class QemuLuks(Server):
    name = "qemu-nbd luks"
    needs = ("qemu-nbd", "qemu-img")
    encrypts = True

    def prepare(self):
        make_luks(self, ["-f", "luks", "-o", "key-secret=s,iter-time=100", self.path("luks")])

    def command(self):
        return ["qemu-nbd", "-t", "-k", self.socket, "--aio=io_uring", "--cache=writeback",
                "--object", "secret,id=s,data=bench", "--image-opts",
                f"driver=luks,key-secret=s,file.driver=file,file.filename={self.path('luks')}"]


class QemuOverlay(Server):
    name = "qcow2+luks"
    needs = ("qemu-nbd", "qemu-img")
    encrypts = True

    def prepare(self):
        make_luks(self, ["-f", "qcow2", "-o",
                         "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=100",
                         "-b", self.base, "-F", "raw", self.path("vm.qcow2")])

    def command(self):
        return ["qemu-nbd", "-t", "-k", self.socket, "--aio=io_uring", "--cache=writeback",
                "--discard=unmap", "--object", "secret,id=s,data=bench", "--image-opts",
                f"driver=qcow2,file.driver=file,file.filename={self.path('vm.qcow2')},"
                "encrypt.format=luks,encrypt.key-secret=s"]


class QemuOverlayFresh(QemuOverlay):
    name = "qcow2+luks fresh"
    fresh = True


class NbdkitMemory(Server):
    name = "nbdkit memory"
    needs = ("nbdkit",)

    def command(self):
        return ["nbdkit", "-f", "-U", self.socket, "memory", str(os.path.getsize(self.base))]


def make_luks(server, arguments):
    """qemu's key derivation times itself, and gives up on a coarse clock: try again."""
    size = [] if "-b" in arguments else [str(os.path.getsize(server.base))]
    for attempt in range(20):
        try:
            run("qemu-img", "create", "-q", "--object", "secret,id=s,data=bench", *arguments,
                *size)
            return
        except subprocess.CalledProcessError as error:
            if attempt == 19:
                raise RuntimeError(error.stderr.decode().strip()) from error


FULL = [Sealed, Plain, Libaio, OneWorker, FourWorkers, NbdkitFile, NbdServer, QemuRaw, NbdkitLuks,
        QemuLuks, QemuOverlay, NbdkitMemory]
FRESH = [SealedFresh, NbdkitCow, QemuOverlayFresh]
