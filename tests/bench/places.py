# SPDX-License-Identifier: MIT
"""Folders to measure in."""
import subprocess


def is_memory(folder):
    """Are its files in memory, and on no disk?"""
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()
    return kind in ("tmpfs", "ramfs")
