#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Fills the file system below an image, and sees what the disk then does.

    full_disk.py base FILE
    full_disk.py fill [--filler FILE] SOCKET STATE SEED
    full_disk.py check SOCKET STATE

base makes a raw base, with data in every part of it. fill writes at scattered
places, many requests at a time, until there is no space left: each WRITE that
needs some then answers ENOSPC, and so do TRIM and WRITE_ZEROES that need a map
block; what is there can be overwritten, TRIM gives space back, and every FLUSH
succeeds. With --filler that file is removed at the end, and the same connection
goes on. STATE keeps what was acknowledged; check wants it all.
"""
import argparse
import errno
import json
import os
import random
import time

import nbd

SECTOR = 512
DISK_BYTES = 4 << 30
PART_BYTES = 4 << 20  # each has base data in its first 4 KiB; about one map block
WRITTEN_PARTS = 768  # of 1024: the map blocks of the others stay unwritten
BASE_BYTES = 4096
IN_FLIGHT = 16
BASE, ZERO = 0, -1  # versions; writes count from 1


def content(sector, version):
    if version == ZERO or version == BASE and sector * SECTOR % PART_BYTES >= BASE_BYTES:
        return bytes(SECTOR)
    return b"%015d;%015d;" % (sector, version) * (SECTOR // 32)


def make_base(path):
    with open(path, "wb") as file:
        for offset in range(0, DISK_BYTES, PART_BYTES):
            first = offset // SECTOR
            file.seek(offset)
            file.write(b"".join(content(first + i, BASE) for i in range(BASE_BYTES // SECTOR)))
        file.truncate(DISK_BYTES)


class Disk:
    """The disk, and by sector the versions it may hold; those not there: BASE."""

    def __init__(self, socket, state, seed=0):
        self.path = state
        self.random = random.Random(seed)
        self.held, self.version = {}, 0
        if os.path.exists(state):
            kept = json.load(open(state))
            self.held = {int(sector): versions for sector, versions in kept["held"].items()}
            self.version = kept["version"]
        self.handle = nbd.NBD()
        self.handle.connect_uri("nbd+unix:///?socket=" + socket)

    def save(self):
        with open(self.path, "w") as file:
            json.dump({"held": self.held, "version": self.version}, file)

    def ended(self, sectors, version, error):
        """A change has been answered: what the sectors may hold now."""
        if error not in (0, errno.ENOSPC):
            raise SystemExit("answered %s" % errno.errorcode.get(error, error))
        for sector in sectors:
            old = self.held.get(sector, [BASE])
            self.held[sector] = [version] if error == 0 else sorted({version, *old})

    def write_all(self, ranges, flags=0):
        """Write each (first sector, number) at the same time; returns the errors."""
        errors, cookies = [], []
        for first, nr in ranges:
            self.version += 1
            data = b"".join(content(first + i, self.version) for i in range(nr))

            def completed(error, sectors=range(first, first + nr), version=self.version):
                errors.append(error.value)
                self.ended(sectors, version, error.value)
                return 1
            cookies.append(self.handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(data)),
                                                  first * SECTOR, completed, flags))
        while len(errors) < len(ranges):
            self.handle.poll(-1)
        return errors

    def zero(self, first, nr, command, flags=0):
        try:
            command(nr * SECTOR, first * SECTOR, flags)
            error = 0
        except nbd.Error as failed:
            error = failed.errnum
        self.ended(range(first, first + nr), ZERO, error)
        return error

    def somewhere(self):
        nr = self.random.choice((1, 8, 8, 8, 8, 16, 64))
        return self.random.randrange(WRITTEN_PARTS * PART_BYTES // SECTOR // nr) * nr, nr

    def places(self):
        """IN_FLIGHT ranges that do not touch each other."""
        chosen, taken = [], set()
        while len(chosen) < IN_FLIGHT:
            first, nr = self.somewhere()
            if taken.isdisjoint(range(first, first + nr)):
                taken.update(range(first, first + nr))
                chosen.append((first, nr))
        return chosen

    def read(self, first, nr):
        data = self.handle.pread(nr * SECTOR, first * SECTOR)
        for i in range(nr):
            got = data[i * SECTOR:(i + 1) * SECTOR]
            versions = self.held.get(first + i, [BASE])
            if all(got != content(first + i, version) for version in versions):
                raise SystemExit("sector %d: begins with %s, not of %s"
                                 % (first + i, got[:32], versions))


def fill_up(disk):
    """Until nothing that needs space has worked for a while. Returns the number written."""
    written, refused = 0, 0
    while refused < 4 * IN_FLIGHT:
        errors = disk.write_all(disk.places())
        written += errors.count(0)
        refused = 0 if 0 in errors else refused + len(errors)
        disk.handle.flush()
    return written


def zero_until_full(disk):
    """Of base data: each takes a new map block, or says that there is no space for it."""
    refused = [0, 0]
    for part in range(WRITTEN_PARTS, DISK_BYTES // PART_BYTES):
        kind = part % 2
        command = (disk.handle.trim, disk.handle.zero)[kind]
        if disk.zero(part * PART_BYTES // SECTOR, BASE_BYTES // SECTOR, command) != 0:
            refused[kind] += 1
    assert all(refused), refused
    disk.handle.flush()


def use_what_is_there(disk):
    """Overwriting in place needs no space."""
    there = [s for s, versions in disk.held.items() if len(versions) == 1 and versions[0] > 0]
    for number in range(20):
        chosen = disk.random.sample(there, IN_FLIGHT)
        flags = nbd.CMD_FLAG_FUA if number % 4 == 0 else 0
        errors = disk.write_all([(sector, 1) for sector in chosen], flags)
        assert not any(errors), errors
    disk.handle.flush()
    for sector in disk.random.sample(there, 200):
        disk.read(sector, 1)


def free_by_trim(disk):
    """Space comes back by a TRIM, once it is durable; then the file system fills up again."""
    there = [s for s, versions in disk.held.items() if s % 8 == 0 and versions[0] > 0]
    chosen = disk.random.sample(there, 200)
    for sector in chosen:
        assert disk.zero(sector, 8, disk.handle.trim) == 0
    disk.handle.flush()
    end = time.monotonic() + 10
    while any(disk.write_all([(sector, 8) for sector in chosen[:IN_FLIGHT]])):
        assert time.monotonic() < end, "no space after TRIM"
        time.sleep(0.1)
    fill_up(disk)


def go_on(disk, filler):
    """Space comes back from elsewhere: the same connection writes again, and nothing is lost."""
    os.unlink(filler)
    end = time.monotonic() + 10
    while any(disk.write_all(disk.places())):
        assert time.monotonic() < end, "still no space"
        time.sleep(0.1)
    for _ in range(20):
        errors = disk.write_all(disk.places())
        assert not any(errors), errors
    first = WRITTEN_PARTS * PART_BYTES // SECTOR
    assert disk.zero(first, 8, disk.handle.zero, nbd.CMD_FLAG_NO_HOLE) == 0
    disk.handle.flush()


def fill(args):
    disk = Disk(args.socket, args.state, args.seed)
    written = fill_up(disk)
    first = (DISK_BYTES - PART_BYTES) // SECTOR + 64
    assert disk.zero(first, 2048, disk.handle.zero, nbd.CMD_FLAG_NO_HOLE) == errno.ENOSPC
    zero_until_full(disk)
    use_what_is_there(disk)
    free_by_trim(disk)
    if args.filler:
        go_on(disk, args.filler)
    disk.save()
    print("full after %d writes" % written)


def check(args):
    disk = Disk(args.socket, args.state)
    for sector in sorted(disk.held):
        if sector % 64 == 0 or sector - 1 not in disk.held:
            nr = 1
            while sector + nr in disk.held and (sector + nr) % 64:
                nr += 1
            disk.read(sector, nr)
    for part in range(0, DISK_BYTES // PART_BYTES, 8):
        disk.read(part * PART_BYTES // SECTOR, 16)
    disk.save()


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("base").add_argument("file")
    command = commands.add_parser("fill")
    command.add_argument("--filler")
    command.add_argument("socket")
    command.add_argument("state")
    command.add_argument("seed", type=int)
    command = commands.add_parser("check")
    command.add_argument("socket")
    command.add_argument("state")
    args = parser.parse_args()
    if args.command == "base":
        make_base(args.file)
    else:
        {"fill": fill, "check": check}[args.command](args)


main()
