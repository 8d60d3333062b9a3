#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Changes an image as somebody would who can write to it but has no key.

Checksums come out right, MACs cannot. Each forgery is made in both copies or
slots, so that nothing falls back to a good one.

    forge.py --list                   NAME OUTCOME, a line each
    forge.py NAME IMAGE [OTHER]       OTHER: another image with the same key and size

OUTCOME is what opening must come to: `refused` (exit 3), `key` (exit 4: no key
opens it), or `block` (map block 0 is damaged, the others are served).
"""
import sys

import read_image as ri

FORGERIES = {}


def forgery(outcome):
    def add(function):
        FORGERIES[function.__name__.replace("_", "-")] = (outcome, function)
        return function
    return add


class Target:
    def __init__(self, path):
        self.image = ri.Image(path)
        self.file = open(path, "r+b", buffering=0)

    def get(self, offset, size):
        self.file.seek(offset)
        return bytearray(self.file.read(size))

    def put(self, offset, data, form):
        """With the CRC that the bytes want."""
        data[form.crc:form.crc + 4] = bytes(4)
        data[form.crc:form.crc + 4] = ri.crc32c(data).to_bytes(4, "little")
        self.file.seek(offset)
        self.file.write(data)

    def edit(self, offsets, size, form, change):
        for offset in offsets:
            data = self.get(offset, size)
            change(data)
            self.put(offset, data, form)

    def super(self, change):
        self.edit((0, 65536), 4096, ri.SUPERBLOCK, change)

    def keyring(self, change):
        self.edit(ri.KEYRINGS, 16384, ri.KEYRING, change)

    def names(self, change):
        self.edit(ri.NAMES, 32768, ri.NAMES_AREA, change)

    def pair(self, index):
        at = self.image.super.map_offset + 2 * ri.BLOCK * index
        return at, at + ri.BLOCK

    def map_block(self, index, change, slots=(0, 1)):
        pair = self.pair(index)
        self.edit([pair[slot] for slot in slots], ri.BLOCK, ri.MAP, change)

    def bitmap(self, change):
        self.edit((ri.MIB, ri.MIB + ri.BLOCK), ri.BLOCK, ri.BITMAP, change)


def setter(offset, *values):
    def change(data):
        data[offset:offset + len(values)] = bytes(values)
    return change


# ---- superblock: policy ------------------------------------------------------

@forgery("refused")
def encryption_off(target, _):
    """The one plane becomes a plain one: ciphertext would be served, and new writes be plain."""
    def change(data):
        data[168] = 0
        data[512] = ri.PLAIN
        data[520:528] = bytes(8)
    target.super(change)


@forgery("refused")
def plain_plane_added(target, _):
    """New writes would go there in the clear."""
    end = target.image.super.planes[0].offset + ri.up_to_mib(target.image.super.disk_bytes)
    length = end + ri.up_to_mib(target.image.super.disk_bytes)

    def change(data):
        row = bytearray(data[512:576])
        row[0] = ri.PLAIN
        row[8:16] = bytes(8)
        row[32:40] = ri.le64(end)
        data[576:640] = row
        data[168] = 0
        data[169] = 3
    target.file.truncate(length)
    target.super(change)


@forgery("refused")
def base_taken_away(target, _):
    target.super(setter(171, 0))


@forgery("refused")
def made_unclean(target, _):
    """Recovery would run, and believe the newest slot."""
    target.super(setter(184, ri.UNCLEAN))


@forgery("refused")
def generation_raised(target, _):
    target.super(setter(56, 255, 255))


@forgery("refused")
def planes_swapped_keys(target, _):
    """The plane under an id that no key has."""
    target.super(setter(520, 77))


@forgery("refused")
def plane_born_later(target, _):
    target.super(setter(552, 1))


@forgery("refused")
def other_mac_key(target, _):
    target.super(setter(4048, 9))


@forgery("refused")
def superblock_of_another_image(target, other):
    for offset in (0, 65536):
        data = other.get(offset, 4096)
        data[40:56] = target.image.super.uuid
        target.put(offset, data, ri.SUPERBLOCK)


# ---- keyring -----------------------------------------------------------------

@forgery("key")
def no_key_slot(target, _):
    target.keyring(setter(128, 0))


@forgery("key")
def wrap_of_unknown_kind(target, _):
    """As near to a wrap called `none` as an image can come."""
    target.keyring(setter(128, 200))


@forgery("key")
def key_slot_of_another_image(target, other):
    slot = bytes(other.get(ri.KEYRINGS[0] + 128, 128))
    target.keyring(lambda data: data.__setitem__(slice(128, 256), slot))


@forgery("refused")
def keyring_of_another_image(target, other):
    for offset in ri.KEYRINGS:
        target.put(offset, other.get(offset, 16384), ri.KEYRING)


@forgery("refused")
def plane_key_taken_away(target, _):
    target.keyring(lambda data: data.__setitem__(slice(1664, 1792), bytes(128)))


@forgery("refused")
def plane_key_flipped(target, _):
    target.keyring(lambda data: data.__setitem__(1664 + 40, data[1664 + 40] ^ 1))


@forgery("refused")
def plane_key_under_another_id(target, _):
    target.keyring(setter(1664 + 8, 4))


@forgery("refused")
def mac_key_as_plane_key(target, _):
    target.keyring(lambda data: data.__setitem__(slice(1664, 1792), data[1152:1280]))


@forgery("refused")
def key_ids_start_again(target, _):
    target.keyring(setter(40, 1))


# ---- names -------------------------------------------------------------------

@forgery("refused")
def another_base(target, _):
    """Its path only: what it holds is compared as well."""
    def change(data):
        at = bytes(data).index(b"base.path_absolute") + len(b"base.path_absolute")
        data[at] = ord("%")
    target.names(change)


@forgery("refused")
def a_name_dropped(target, _):
    def change(data):
        used = int.from_bytes(data[12:16], "little")
        data[128 + used - 1] ^= 1
    target.names(change)


# ---- map ---------------------------------------------------------------------

@forgery("block")
def sectors_back_to_base(target, _):
    target.map_block(0, lambda data: data.__setitem__(slice(128, 4096), bytes(3968)))


@forgery("block")
def sectors_become_zeros(target, _):
    target.map_block(0, lambda data: data.__setitem__(slice(128, 4096), b"\x11" * 3968))


@forgery("block")
def one_entry(target, _):
    target.map_block(0, lambda data: data.__setitem__(128, data[128] ^ 3))


@forgery("block")
def a_plane_that_is_not_there(target, _):
    target.map_block(0, setter(128, 0xff))


@forgery("block")
def block_of_another_place(target, _):
    for offset, taken in zip(target.pair(0), target.pair(1)):
        data = target.get(taken, ri.BLOCK)
        data[16:24] = bytes(8)
        target.put(offset, data, ri.MAP)


@forgery("block")
def block_of_another_image(target, other):
    for offset, taken in zip(target.pair(0), other.pair(0)):
        data = other.get(taken, ri.BLOCK)
        data[72:88] = target.image.super.uuid
        target.put(offset, data, ri.MAP)


@forgery("block")
def block_wiped(target, _):
    for offset in target.pair(0):
        target.file.seek(offset)
        target.file.write(bytes(ri.BLOCK))


@forgery("refused")
def block_never_written(target, _):
    """Its bit is cleared: the base would shine through again."""
    target.bitmap(lambda data: data.__setitem__(128, data[128] & ~1))


@forgery("block")
def newer_slot_after_a_kill(target, _):
    """For an image that was not closed: the older slot must not take over."""
    pair = target.pair(0)
    newest = max(pair, key=lambda at: ri.number(target.get(at, ri.BLOCK), 24, 8))
    assert target.image.super.open_state == ri.UNCLEAN
    target.edit([newest], ri.BLOCK, ri.MAP, setter(128, 0x11))


def main():
    if sys.argv[1:] == ["--list"]:
        for name, (outcome, _) in FORGERIES.items():
            print(name, outcome)
        return
    _, function = FORGERIES[sys.argv[1]]
    function(Target(sys.argv[2]), Target(sys.argv[3]) if len(sys.argv) > 3 else None)


if __name__ == "__main__":
    main()
