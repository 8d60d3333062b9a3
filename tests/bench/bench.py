#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""sealblkd beside its peers: the same loads, interleaved, medians and ratios.

Servers: sealblkd (encrypted image over a plaintext base), qemu-nbd (qcow2 with
LUKS over the same base), nbdkit file (plain: what no encryption costs).
Each round runs every load on every server in turn, so that a machine whose
speed drifts treats them alike. Prints a table per place and writes a CSV.
"""
import argparse
import csv
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

LOADS = [
    # name, kind, block, depth, unit
    ("seq write 128K QD16", "write", 131072, 16, "mb_s"),
    ("seq read 128K QD16", "read", 131072, 16, "mb_s"),
    ("rand write 4K QD32", "randwrite", 4096, 32, "kiops"),
    ("rand read 4K QD32", "randread", 4096, 32, "kiops"),
    ("rand write 4K QD1", "randwrite", 4096, 1, "kiops"),
    ("rand read 4K QD1", "randread", 4096, 1, "kiops"),
    ("write+flush 4K QD1", "writeflush", 4096, 1, "kiops"),
]


def run(*args, **kwargs):
    return subprocess.run(args, check=True, stdout=subprocess.DEVNULL, **kwargs)


class Server:
    """A server of the disk in @place; its process is ours to end."""

    def __init__(self, place, options):
        self.place = place
        self.options = options
        self.socket = os.path.join(place, self.name + ".sock")
        self.process = None

    def uri(self):
        return "nbd+unix:///?socket=" + self.socket

    def start(self):
        log = open(os.path.join(self.place, self.name + ".log"), "ab")
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        for _ in range(200):
            if subprocess.run(["nbdinfo", "--size", self.uri()], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0:
                return
            time.sleep(0.05)
        with open(log.name, encoding="utf-8", errors="replace") as said:
            sys.exit(f"bench: {self.name} did not start: {said.read()}")

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=60)

    def cpu_s(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_kib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith("VmHWM"):
                    return int(line.split()[1])
        return 0


class Sealblkd(Server):
    name = "sealblkd"

    def prepare(self, base):
        image = os.path.join(self.place, "vm.seal")
        key = os.path.join(self.place, "key")
        with open(key, "wb") as f:
            f.write(os.urandom(64))
        run(os.path.join(self.options.build, "sealblk"), "create", "--base", base + ":raw",
            "--key-file", key, image)

    def command(self):
        return [os.path.join(self.options.build, "sealblkd"), "--socket", self.socket,
                "--key-file", os.path.join(self.place, "key"),
                os.path.join(self.place, "vm.seal")]


class QemuNbd(Server):
    name = "qemu-nbd"

    def prepare(self, base):
        # Its key derivation times itself and gives up on a coarse clock: try again.
        for attempt in range(20):
            try:
                run("qemu-img", "create", "-q", "--object", "secret,id=s,data=bench",
                    "-f", "qcow2", "-o",
                    "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=500",
                    "-b", base, "-F", "raw", os.path.join(self.place, "vm.qcow2"),
                    stderr=subprocess.DEVNULL)
                return
            except subprocess.CalledProcessError:
                if attempt == 19:
                    raise

    def command(self):
        image = os.path.join(self.place, "vm.qcow2")
        return ["qemu-nbd", "-t", "-k", self.socket, "--aio=io_uring", "--cache=writeback",
                "--discard=unmap", "--object", "secret,id=s,data=bench", "--image-opts",
                f"driver=qcow2,file.driver=file,file.filename={image},"
                "encrypt.format=luks,encrypt.key-secret=s"]


class NbdkitFile(Server):
    name = "nbdkit"

    def prepare(self, base):
        shutil.copyfile(base, os.path.join(self.place, "plain.raw"))

    def command(self):
        return ["nbdkit", "-f", "-U", self.socket, "file", os.path.join(self.place, "plain.raw")]


def measure(server, load, options):
    _, kind, block, depth, unit = load
    cpu = server.cpu_s()
    limit = options.size if kind in ("read", "write") else 0
    out = subprocess.run([os.path.join(options.build, "tests", "nbdload"), server.uri(), kind,
                          str(block), str(depth), "1", str(options.seconds), str(limit)],
                         check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    values = dict(zip(out[::2], map(float, out[1::2])))
    gib = values["requests"] * block / 2**30
    return values[unit], (server.cpu_s() - cpu) / gib


def bench_place(place, options, writer):
    base = os.path.join(place, "base.raw")
    with open(base, "wb") as f:
        for _ in range(options.size // 2**20):
            f.write(os.urandom(2**20))
    servers = [cls(place, options) for cls in (Sealblkd, QemuNbd, NbdkitFile)]
    try:
        for server in servers:
            server.prepare(base)
            server.start()
        run_rounds(servers, options, writer)
    finally:
        for server in servers:
            server.stop()


def run_rounds(servers, options, writer):
    results = {}
    for server in servers:  # `full`: every sector is in the overlay before it counts
        measure(server, ("fill", "write", 1048576, 4, "mb_s"), argparse.Namespace(
            build=options.build, seconds=600, size=options.size))
    for number in range(options.rounds):
        for load in LOADS:
            for server in servers:
                value, cpu = measure(server, load, options)
                results.setdefault((load[0], server.name), []).append((value, cpu))
                writer.writerow([options.label, number, load[0], server.name, value, cpu])
    report(options, servers, results)
    for server in servers:
        print(f"  peak RSS {server.name}: {server.rss_kib() / 1024:.0f} MiB")


def report(options, servers, results):
    print(f"\n{options.label}: {options.size >> 20} MiB disk, medians of {options.rounds} rounds; "
          "in brackets server CPU seconds per GiB")
    names = [s.name for s in servers]
    print(f"  {'':22}" + "".join(f"{n:>20}" for n in names) + f"{'sealblkd/qemu-nbd':>20}")
    for load in LOADS:
        cells, values = [], {}
        for name in names:
            rows = results[(load[0], name)]
            values[name] = statistics.median(v for v, _ in rows)
            cpu = statistics.median(c for _, c in rows)
            cells.append(f"{values[name]:.1f} ({cpu:.2f})")
        ratio = values["sealblkd"] / values["qemu-nbd"]
        unit = "MB/s" if load[4] == "mb_s" else "kIOPS"
        print(f"  {load[0]:22}" + "".join(f"{c:>20}" for c in cells) + f"{ratio:>19.2f}x {unit}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build", help="where sealblkd was built")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="per random load")
    parser.add_argument("--size", type=int, default=512, help="of the disk, MiB")
    parser.add_argument("--csv", default=None, help="write every figure to this file")
    parser.add_argument("--place", action="append", default=None, metavar="LABEL=FOLDER",
                        help="default: tmpfs=/dev/shm and disk=the current folder")
    options = parser.parse_args()
    options.size <<= 20
    for tool in ("qemu-nbd", "qemu-img", "nbdkit", "nbdinfo"):
        if not shutil.which(tool):
            sys.exit(f"bench: {tool} is not installed")
    out = open(options.csv or os.devnull, "w", newline="", encoding="ascii")
    writer = csv.writer(out)
    writer.writerow(["place", "round", "load", "server", "value", "cpu_s_per_gib"])
    for item in options.place or ["tmpfs=/dev/shm", "disk=" + os.getcwd()]:
        options.label, folder = item.split("=", 1)
        with tempfile.TemporaryDirectory(prefix="sealblk-bench-", dir=folder) as place:
            bench_place(place, options, writer)


if __name__ == "__main__":
    main()
