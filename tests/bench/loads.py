# SPDX-License-Identifier: MIT
"""The loads: what a client does to a server, and what is measured of it."""
import dataclasses
import json
import os
import subprocess
import time

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
HANG_S = 300    # a load that takes this much longer than it should has hung


@dataclasses.dataclass(frozen=True)
class Load:
    name: str
    kind: str       # nbdload's word, or copy-out, copy-in: nbdcopy
    block: int = 0
    depth: int = 0      # requests in flight on each connection (QD)
    conns: int = 1

    @property
    def writes(self):
        return "write" in self.kind or self.kind == "copy-in"

    @property
    def small(self):
        """Counted in operations; otherwise in bytes."""
        return self.block == 4 * KIB

    @property
    def unit(self):
        return "kIOPS" if self.small else "MB/s"


LOADS = [
    Load("read-1M-qd16", "read", MIB, 16),
    Load("write-1M-qd16", "write", MIB, 16),
    Load("read-128K-qd16", "read", 128 * KIB, 16),
    Load("write-128K-qd16", "write", 128 * KIB, 16),
    Load("copy-out", "copy-out"),
    Load("copy-in", "copy-in"),
    Load("randread-4K-qd1", "randread", 4 * KIB, 1),
    Load("randread-4K-qd32", "randread", 4 * KIB, 32),
    Load("randread-4K-qd32x4", "randread", 4 * KIB, 32, 4),
    Load("randwrite-4K-qd1", "randwrite", 4 * KIB, 1),
    Load("randwrite-4K-qd32", "randwrite", 4 * KIB, 32),
    Load("randwrite-4K-qd32x4", "randwrite", 4 * KIB, 32, 4),
    Load("writeflush-4K-qd1", "writeflush", 4 * KIB, 1),
]
FILL = Load("fill", "write", MIB, 4)

# What is measured on a disk, where the rest would say more about the disk than the server.
DISK_LOADS = ("read-128K-qd16", "write-128K-qd16", "randread-4K-qd32", "randwrite-4K-qd32",
              "writeflush-4K-qd1")
QUICK_LOADS = ("read-128K-qd16", "write-128K-qd16", "randread-4K-qd32", "randwrite-4K-qd32")


@dataclasses.dataclass
class Measurement:
    """What one load on one server came to. None: this load or server does not tell."""
    value: float                # in the load's unit
    seconds: float
    nbytes: int
    requests: int | None = None
    p50_us: float | None = None
    p99_us: float | None = None
    cpu_s: float | None = None  # of the server

    @property
    def cpu_s_per_gib(self):
        return self.cpu_s / (self.nbytes / GIB) if self.cpu_s is not None else None

    @property
    def cpu_us_per_op(self):
        if self.cpu_s is None or not self.requests:
            return None
        return self.cpu_s / self.requests * 1e6


def output_of(*command, seconds=0.0):
    """What it prints. Raises RuntimeError, with what it said, when it fails or hangs."""
    try:
        return subprocess.run([str(word) for word in command], check=True, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=seconds + HANG_S).stdout
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip() or f"exit {error.returncode}"
        raise RuntimeError(f"{os.path.basename(command[0])}: {said}") from error
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{os.path.basename(command[0])} hung") from error


def parse_pairs(line, load):
    """A Measurement of nbdload's or ceilings' line of names and values."""
    words = line.split()
    values = dict(zip(words[::2], map(float, words[1::2])))
    requests = int(values["requests"])
    if requests == 0:
        raise RuntimeError(f"not one request of {load.name} was completed")
    small = load.small
    return Measurement(values["kiops" if small else "mb_s"], values["seconds"],
                       requests * load.block, requests,
                       values.get("p50_us") if small else None,
                       values.get("p99_us") if small else None)


def generate(program, uri, load, seconds, limit=0, once=False):
    """@once: no block more than once, so that over a base each write is a first write."""
    return parse_pairs(output_of(program, uri, load.kind + ("-once" if once else ""), load.block,
                                 load.depth, load.conns, seconds, limit, seconds=seconds), load)


def copy(load, uri, base):
    size = os.path.getsize(base)
    ends = [uri, "null:"] if load.kind == "copy-out" else [base, uri]
    start = time.monotonic()
    output_of("nbdcopy", *ends)
    seconds = time.monotonic() - start
    return Measurement(size / seconds / 1e6, seconds, size)


def fio(path, load, seconds):
    """The same on a file, by pread, pwrite and fdatasync of one thread: the depth is always 1."""
    rw = {"writeflush": "randwrite"}.get(load.kind, load.kind)
    out = json.loads(output_of(
        "fio", "--name=bench", "--filename=" + path, "--rw=" + rw, f"--bs={load.block}",
        "--ioengine=psync", "--time_based", f"--runtime={int(seconds * 1000)}ms",
        "--norandommap", f"--size={os.path.getsize(path)}", "--output-format=json",
        *(["--fdatasync=1"] if load.kind == "writeflush" else []), seconds=seconds))
    side = out["jobs"][0]["write" if load.writes else "read"]
    value = side["iops"] / 1e3 if load.small else side["bw_bytes"] / 1e6
    return Measurement(value, side["runtime"] / 1e3, side["io_bytes"], side["total_ios"])
