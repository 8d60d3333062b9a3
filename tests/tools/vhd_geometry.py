#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The geometry of VHDs by other lights than ours.

vhd_geometry.py sizes N SEED      numbers of sectors: around every boundary, then random ones, N in all
vhd_geometry.py expect <SIZES     the geometry that the specification's algorithm gives each
vhd_geometry.py round <SIZES      for each the first size from it on whose geometry is no smaller
vhd_geometry.py footer FILE...    the geometry in the footer of each
"""
import random
import struct
import sys

# What the algorithm looks at: limits on cylinders, heads, track lengths, and the largest disk.
BOUNDARIES = [65535 * 16 * 255, 65535 * 16 * 63]
BOUNDARIES += [heads * 1024 * track for heads in range(1, 18) for track in (17, 31, 63)]


def sizes(count, seed):
    near = [edge + off for edge in BOUNDARIES for off in range(-70, 71)]
    rng = random.Random(seed)
    far = [int(2 ** rng.uniform(0, 37)) for _ in range(max(0, count - len(near)))]
    return [n for n in near if n > 0][:count] + far


def chs(total_sectors):
    """Virtual Hard Disk Image Format Specification 1.0, appendix "CHS Calculation"."""
    total_sectors = min(total_sectors, 65535 * 16 * 255)
    if total_sectors >= 65535 * 16 * 63:
        sectors_per_track = 255
        heads = 16
        cylinders_times_heads = total_sectors // sectors_per_track
    else:
        sectors_per_track = 17
        cylinders_times_heads = total_sectors // sectors_per_track
        heads = (cylinders_times_heads + 1023) // 1024
        if heads < 4:
            heads = 4
        if cylinders_times_heads >= heads * 1024 or heads > 16:
            sectors_per_track = 31
            heads = 16
            cylinders_times_heads = total_sectors // sectors_per_track
        if cylinders_times_heads >= heads * 1024:
            sectors_per_track = 63
            heads = 16
            cylinders_times_heads = total_sectors // sectors_per_track
    return cylinders_times_heads // heads, heads, sectors_per_track


def round_up(sectors):
    """What qemu-img does with a size before it asks for its geometry."""
    size = sectors
    while True:
        cylinders, heads, track = chs(size)
        if cylinders * heads * track >= sectors:
            return size
        size += 1


def footer_of(path):
    with open(path, "rb") as file:
        file.seek(-512, 2)
        return file.read(512)


def main():
    verb, rest = sys.argv[1], sys.argv[2:]
    if verb == "sizes":
        print(*sizes(int(rest[0]), int(rest[1])), sep="\n")
    elif verb == "expect":
        for line in sys.stdin:
            print("%d/%d/%d" % chs(int(line)))
    elif verb == "round":
        for line in sys.stdin:
            print(round_up(int(line)))
    elif verb == "footer":
        for path in rest:
            print("%d/%d/%d" % struct.unpack_from(">HBB", footer_of(path), 56))


main()
