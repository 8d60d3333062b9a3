#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Look for the beginning of files in the memory of a process: find_in_memory.py PID FILE...

Exit: 0 found (and says where), 1 not there, 77 its memory may not be read.
"""
import sys

NEEDLE_BYTES = 13


def regions(pid):
    with open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps:
        for line in maps:
            span, mode, *rest = line.split(None, 5)
            first, end = (int(x, 16) for x in span.split("-"))
            if mode[0] == "r" and not (rest and rest[-1].startswith("[vv")):
                yield first, end, line.strip()


def main():
    pid, *names = sys.argv[1:]
    needles = {name: open(name, "rb").read(NEEDLE_BYTES) for name in names}
    found = False
    try:
        memory = open(f"/proc/{pid}/mem", "rb", buffering=0)
    except PermissionError:
        sys.exit(77)
    with memory:
        for first, end, line in regions(pid):
            # Large maps are reserved, not used: what is there is at their beginning.
            try:
                memory.seek(first)
                data = memory.read(min(end - first, 64 << 20))
            except OSError:
                continue
            for name, needle in needles.items():
                if needle in data:
                    print(f"{name} is in {line}")
                    found = True
    sys.exit(0 if found else 1)


main()
