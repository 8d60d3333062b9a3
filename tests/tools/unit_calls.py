#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints the system calls that a unit's SystemCallFilter= lines allow, one a line.

    unit_calls.py UNIT

Asks systemd-analyze what the sets are. The first line must be one that allows."""

import subprocess
import sys


def members(name):
    """The calls of a set, and of the sets in it."""
    if not name.startswith("@"):
        return {name}
    listing = subprocess.run(["systemd-analyze", "--no-pager", "syscall-filter", name],
                             check=True, capture_output=True, text=True).stdout
    words = [line.strip() for line in listing.splitlines()[1:]]
    calls = set()
    for word in words:
        if word and not word.startswith("#"):
            calls |= members(word)
    return calls


def main():
    allowed = members("@default")  # systemd always adds it
    nr_lines = 0
    with open(sys.argv[1], encoding="utf-8") as unit:
        for line in unit:
            if not line.startswith("SystemCallFilter="):
                continue
            words = line.strip().split("=", 1)[1].split()
            removes = words[0].startswith("~")
            words[0] = words[0].lstrip("~")
            for word in words:
                if removes:
                    allowed -= members(word)
                else:
                    allowed |= members(word)
            nr_lines += 1
            if nr_lines == 1 and removes:
                sys.exit("the first line removes")
    if nr_lines == 0:
        sys.exit("no SystemCallFilter=")
    print("\n".join(sorted(allowed)))


main()
