#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The life of a disk's keys under load, and what old keys still open.

    key_life.py base FILE MIB
    key_life.py run SOCKET STATE BASE.raw SEED SECONDS SEALBLK IMAGE KEYS PID TERM|KILL
    key_life.py check SOCKET STATE BASE.raw
    key_life.py end SOCKET STATE BASE.raw SEED SEALBLK IMAGE KEYS encrypt|rekey
    key_life.py look KNOWN SEALBLK IMAGE KEYS
    key_life.py scan KNOWN IMAGE BASE KEYS

The load is end_under_load.py's, but each sector carries MARK. run: beside it keys
come and go, encryption is switched and rewrites are ordered at random, until PID
gets the signal. end: a rewrite to its end, under load. look, while nobody serves
IMAGE: writes the keys of its planes to KNOWN, once each was seen to open a plane.
scan, at the end: neither IMAGE as it is, nor any part of it decrypted with an
old key, shows MARK; the base and the current key do. KEYS is a folder of key files,
of which some open IMAGE.
"""
import json
import os
import random
import signal
import subprocess
import sys
import time

import end_under_load
import read_image
import revoke_under_load
from end_under_load import SECTOR

MARK = b"PLAINTEXT-SECTOR"
MIB = 1 << 20
KEYS_MAX = 3  # that open the image at a time


def content(sector, version):
    return (MARK + b"%07d;%07d;" % (sector, version % 10000000)) * (SECTOR // 32)


class MarkedModel(end_under_load.Model):
    def bytes_of(self, sector, version):
        if version in (end_under_load.ORIGINAL, end_under_load.ZEROS):
            return super().bytes_of(sector, version)
        return content(sector, version)


def output_of(command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()


# ---- the load, and orders beside it -------------------------------------------

class Life(revoke_under_load.RevokedLoad):
    def __init__(self, socket, state, base, seed, sealblk, image, keys):
        probe = end_under_load.connect(socket)
        model = MarkedModel(state, base, probe.get_size() // SECTOR)
        probe.shutdown()
        super().__init__(socket, model, seed)
        self.choice = random.Random(seed + "orders")
        self.sealblk, self.image, self.folder = sealblk, image, keys
        self.names = sorted(os.listdir(keys))
        self.open_names = [name for name in self.names if self.opens(name)]
        self.end_at = float("inf")
        self.counts = {}

    def path(self, name):
        return os.path.join(self.folder, name)

    def opens(self, name):
        """To restore keys that are not revoked changes nothing, and wants a right key."""
        command = [self.sealblk, "key", "restore", "--key-file", self.path(name), self.image]
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode == 0

    def is_over(self):
        return bool(self.failures) or time.monotonic() >= self.end_at

    def run_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.is_over():
            self.turn()

    def order(self, *words, may_fail=False):
        """sealblk WORDS IMAGE under load. True when it has succeeded."""
        with subprocess.Popen([self.sealblk, *words, self.image], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE) as process:
            while process.poll() is None and not self.is_over():
                self.turn()
            if process.poll() is None:
                return False  # the end comes in its midst
            said = process.stderr.read().decode()
        name = " ".join(word for word in words[:2] if not word.startswith("-"))
        self.counts[name] = self.counts.get(name, 0) + 1
        if process.returncode and not may_fail:
            self.fail("sealblk %s: exit %d: %s" % (" ".join(words), process.returncode, said))
        return process.returncode == 0

    def is_enabled(self):
        return json.loads(output_of([self.sealblk, "encryption", "status", "--json",
                                     self.image]))["enabled"]

    # Each of these is an order, or some that belong together.

    def switch(self):
        self.order("encryption", "off" if self.is_enabled() else "on")

    def encrypt(self):
        self.order("encrypt", "start", "--max-rate", self.choice.choice(("0", "0", "20M")),
                   may_fail=not self.is_enabled())

    def rekey(self):
        key = self.choice.choice(self.open_names)
        if self.order("rekey", "start", "--key-file", self.path(key), "--drop-other-slots",
                      may_fail=not self.is_enabled()):
            # One that was under way already has changed no slot.
            self.open_names = [name for name in self.open_names if self.opens(name)]

    def pause(self):
        job = self.choice.choice(("encrypt", "rekey"))
        self.order(job, "pause")
        self.run_for(0.1)
        self.order(job, "resume")

    def change_keys(self, verb):
        old = self.choice.choice(self.open_names)
        new = self.choice.choice([name for name in self.names if name not in self.open_names])
        if self.order("key", verb, "--key-file", self.path(old), "--new-key-file",
                      self.path(new)):
            self.open_names.append(new)
            if verb == "rotate":
                self.open_names.remove(old)

    def rotate(self):
        self.change_keys("rotate")

    def add(self):
        if len(self.open_names) < KEYS_MAX:
            self.change_keys("add")

    def revoke(self):
        self.may_refuse = True
        if self.order("key", "revoke"):
            for _ in range(4):  # clients ask now and then
                self.run_for(0.005)
                time.sleep(0.02)
            self.order("key", "restore", "--key-file",
                       self.path(self.choice.choice(self.open_names)))
        if not self.is_over():
            self.settle()
            self.may_refuse = False

    def live(self, seconds, pid, sign):
        self.end_at = time.monotonic() + seconds
        orders = (self.switch, self.encrypt, self.encrypt, self.rekey, self.rekey, self.pause,
                  self.rotate, self.add, self.revoke)
        while not self.is_over():
            self.choice.choice(orders)()
            self.run_for(self.choice.random() * 0.3)
        self.ended = True
        os.kill(pid, sign)
        self.model.save()

    def finish(self, job):
        if job == "encrypt":
            self.order("encryption", "on")
            self.order("encrypt", "--max-rate", "0")
        else:
            self.order("rekey", "resume")  # a paused one would be waited for
            self.order("rekey", "--max-rate", "0", "--drop-other-slots", "--key-file",
                       self.path(self.open_names[0]))
        self.settle()
        self.model.save()


# ---- what keys open -----------------------------------------------------------

def data_sectors(file, offset, size):
    """(number, bytes) of the sectors there that are not all zeros."""
    for at in range(0, size, MIB):
        piece = os.pread(file.fileno(), min(MIB, size - at), offset + at)
        if piece.count(0) == len(piece):
            continue
        for i in range(0, len(piece) - SECTOR + 1, SECTOR):
            sector = piece[i:i + SECTOR]
            if sector.count(0) != SECTOR:
                yield (at + i) // SECTOR, sector


def opened_by(key, file, offset, size, enough):
    """Sectors of a plane there that show MARK when decrypted, @enough at most."""
    nr = 0
    for number, sector in data_sectors(file, offset, size):
        nr += MARK in read_image.CRYPTO.xts_decrypt(key, number, sector)
        if nr == enough:
            break
    return nr


def show_marks(path):
    with open(path, "rb") as file:
        return file.read().count(MARK)


def open_key(image, keys):
    """An opened reader of @image, by whichever of @keys."""
    for name in sorted(os.listdir(keys)):
        reader = read_image.Image(image)
        try:
            with open(os.path.join(keys, name), "rb") as file:
                reader.unlock(read_image.KEK_RAW, file.read())
            return reader
        except read_image.KeyRejected:
            pass
    raise read_image.KeyRejected("no key of %s opens %s" % (keys, image))


def look(path, sealblk, image, keys):
    known = {"keys": {}, "marks": 0}
    if os.path.exists(path):
        with open(path) as file:
            known = json.load(file)
    known["marks"] = max(known["marks"], show_marks(image))
    info = json.loads(output_of([sealblk, "info", "--json", image]))
    with open(image, "rb") as file:
        for plane in info["planes"]:
            if plane["kind"] == "sealed":
                look_at_plane(known, plane, file, info["disk_bytes"], (sealblk, image, keys))
    with open(path, "w") as file:
        json.dump(known, file)
    return []


def look_at_plane(known, plane, file, disk_bytes, where):
    sealblk, image, keys = where
    for name in sorted(os.listdir(keys)):
        done = subprocess.run([sealblk, "key", "export", "--plane", str(plane["map_value"]),
                               "--key-file", os.path.join(keys, name), image],
                              check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if done.returncode == 0:
            key = bytes.fromhex(done.stdout.decode().strip())
            break
    else:
        raise read_image.KeyRejected("no key exports plane %d" % plane["map_value"])
    if opened_by(key, file, plane["file_offset_bytes"], disk_bytes, 1):
        known["keys"][str(plane["key_id"])] = key.hex()


def scan(path, image, base, keys):
    with open(path) as file:
        known = json.load(file)
    reader = open_key(image, keys)
    # An empty plain plane may be there for the next time that encryption is off.
    planes = [plane for plane in reader.super.planes if plane.kind == read_image.SEALED]
    plane_ids = [key_id for key_id, (purpose, _) in reader.keys.items()
                 if purpose == read_image.PLANE_KEY]
    failures = []
    if len(planes) != 1 or plane_ids != [planes[0].key_id]:
        failures.append("%d sealed planes, keys %s are left" % (len(planes), plane_ids))
    if not show_marks(base) or not known["marks"]:
        failures.append("a scan for plaintext finds none where there is some")
    if show_marks(image):
        failures.append("%d times plaintext in the image" % show_marks(image))
    old = {int(key_id): bytes.fromhex(key) for key_id, key in known["keys"].items()}
    current = read_image.hkdf(reader.find_key(planes[0].key_id, read_image.PLANE_KEY), b"",
                              b"sealblk xts v1" + bytes(8), 64)
    if planes[0].key_id in old or len(old) < 2:
        failures.append("old keys: %s, the current one: %d" % (list(old), planes[0].key_id))
    failures += scan_planes(reader, old, current)
    return failures, len(old)


def scan_planes(reader, old, current):
    sup = reader.super
    first = read_image.up_to_mib(sup.map_offset + 2 * read_image.BLOCK * sup.map_blocks)
    length = read_image.up_to_mib(sup.disk_bytes)
    by_current, failures = 0, []
    for offset in range(first, os.fstat(reader.file.fileno()).st_size, length):
        by_current += opened_by(current, reader.file, offset, length, -1)
        for key_id, key in old.items():
            nr = opened_by(key, reader.file, offset, length, -1)
            if nr:
                failures.append("key %d opens %d sectors at %d" % (key_id, nr, offset))
    if not by_current:
        failures.append("the current key opens nothing")
    return failures


# ---- the program ------------------------------------------------------------

def write_base(path, mib):
    """Data in the first three quarters, a hole behind them."""
    size = int(mib) * MIB
    with open(path, "wb") as file:
        for sector in range(size * 3 // 4 // SECTOR):
            file.write(content(sector, 0))
        file.truncate(size)
    return []


def run(socket, state, base, seed, seconds, sealblk, image, keys, pid, sign):
    life = Life(socket, state, base, seed, sealblk, image, keys)
    life.live(float(seconds), int(pid), signal.Signals["SIG" + sign])
    print("%d changes acknowledged, %d requests refused, %d sectors under way; %s"
          % (life.acknowledged, life.nr_refused, len(life.model.coming),
             ", ".join("%s %d" % pair for pair in sorted(life.counts.items()))))
    return life.failures


def end(socket, state, base, seed, sealblk, image, keys, job):
    life = Life(socket, state, base, seed, sealblk, image, keys)
    life.finish(job)
    return life.failures


def main():
    verb, arguments = sys.argv[1], sys.argv[2:]
    if verb == "scan":
        failures, nr = scan(*arguments)
        print("old keys: %d" % nr)
    elif verb == "check":
        failures = end_under_load.check(*arguments, kind=MarkedModel)
    else:
        failures = {"base": write_base, "run": run, "end": end, "look": look}[verb](*arguments)
    for text in failures[:10]:
        print(text, file=sys.stderr)
    # Past the handles' destructors, which wait for a daemon that is gone.
    sys.stdout.flush()
    os._exit(1 if failures else 0)


if __name__ == "__main__":
    main()
