#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Look for every key of an image in the memory of processes.

    find_image_keys.py PID[,PID...] IMAGE (--key-file | --passphrase-file) FILE

What is looked for is worked out from docs/format.md alone, by read_image.py: the
secret, the KEK, the image key, MAC keys and plane keys; the XTS key of each TiB;
each round key of its two AES keys, for encrypting and for decrypting (FIPS 197);
the pads and hash states that HMAC makes of a MAC key (RFC 2104). Each in
pieces of 16 bytes, which may lie anywhere; what hash functions are fed with also
with the bytes of each 4 or 8 turned round, as they load them.

Prints each kind that was found, and where. Exit: 0 found something, 1 nothing
there, 77 its memory may not be read.
"""
import struct
import sys

import read_image

PIECE = 16
CHUNK = 64 << 10
REGION_MAX = 64 << 20  # large maps are reserved, not used: what is there is at the beginning


# ---- AES: the round keys -----------------------------------------------------

def times_x(a):
    return (a << 1) ^ (0x11b if a & 0x80 else 0)


def times(a, b):
    out = 0
    while b:
        out ^= a if b & 1 else 0
        a, b = times_x(a), b >> 1
    return out


def make_sbox():
    box = []
    for a in range(256):
        inverse = next((b for b in range(256) if times(a, b) == 1), 0)
        turned = inverse
        for i in range(1, 5):
            turned ^= (inverse << i | inverse >> (8 - i)) & 0xff
        box.append(turned ^ 0x63)
    return bytes(box)


SBOX = make_sbox()


def round_keys(key):
    """The 15 of AES-256 (FIPS 197, 5.2)."""
    words, constant = [key[i:i + 4] for i in range(0, 32, 4)], 1
    while len(words) < 60:
        word = words[-1]
        if len(words) % 8 == 0:
            word = bytes(SBOX[b] for b in word[1:] + word[:1])
            word = bytes((word[0] ^ constant,)) + word[1:]
            constant = times_x(constant)
        elif len(words) % 8 == 4:
            word = bytes(SBOX[b] for b in word)
        words.append(bytes(a ^ b for a, b in zip(word, words[-8])))
    return [b"".join(words[i:i + 4]) for i in range(0, 60, 4)]


def inverse_mixed(key):
    """As the equivalent inverse cipher wants a round key (FIPS 197, 5.3.5)."""
    out = bytearray()
    for column in (key[i:i + 4] for i in range(0, 16, 4)):
        for row in range(4):
            out.append(times(column[row], 14) ^ times(column[(row + 1) % 4], 11)
                       ^ times(column[(row + 2) % 4], 13) ^ times(column[(row + 3) % 4], 9))
    return bytes(out)


# ---- SHA-256: the state after one block --------------------------------------

def primes(nr):
    found = []
    at = 2
    while len(found) < nr:
        if all(at % p for p in found):
            found.append(at)
        at += 1
    return found


def root_bits(value, power):
    """The first 32 bits of the fraction of the @power-th root."""
    low, high = 0, value << 32
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle ** power <= value << (32 * power) else (low, middle)
    return low & 0xffffffff


SHA_START = [root_bits(p, 2) for p in primes(8)]
SHA_ROUNDS = [root_bits(p, 3) for p in primes(64)]


def turn(a, n):
    return (a >> n | a << (32 - n)) & 0xffffffff


def sha256_state(block):
    """FIPS 180-4, 6.2.2, as the eight words lie in memory here."""
    w = list(struct.unpack(">16I", block))
    for i in range(16, 64):
        s0 = turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3
        s1 = turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10
        w.append((w[i - 16] + s0 + w[i - 7] + s1) & 0xffffffff)
    a, b, c, d, e, f, g, h = SHA_START
    for i in range(64):
        s1 = turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)
        t1 = h + s1 + (e & f ^ ~e & g) + SHA_ROUNDS[i] + w[i]
        s0 = turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)
        t2 = s0 + (a & b ^ a & c ^ b & c)
        a, b, c, d, e, f, g, h = ((t1 + t2) & 0xffffffff, a, b, c, (d + t1) & 0xffffffff, e, f, g)
    return struct.pack("=8I", *((x + y) & 0xffffffff
                                for x, y in zip((a, b, c, d, e, f, g, h), SHA_START)))


# ---- what to look for ----------------------------------------------------------

def turned(data, width):
    return b"".join(data[i:i + width][::-1] for i in range(0, len(data), width))


class Needles:
    def __init__(self):
        self.kind_of = {}

    def add(self, kind, data):
        for at in range(0, len(data) - PIECE + 1, PIECE):
            self.kind_of.setdefault(data[at:at + PIECE], kind)

    def add_hashed(self, kind, data):
        for width in (1, 4, 8):
            self.add(kind, turned(data, width))

    def add_mac_key(self, key):
        self.add_hashed("MAC key", key)
        for pad in (0x36, 0x5c):
            padded = bytes(b ^ pad for b in key.ljust(64, b"\0"))
            self.add_hashed("padded MAC key", padded[:32])
            self.add("HMAC state", sha256_state(padded))

    def add_aes_key(self, kind, key):
        for number, round_key in enumerate(round_keys(key)):
            self.add(kind if number < 2 else kind + ", expanded", round_key)
            if 0 < number < 14:
                self.add(kind + ", expanded to decrypt", inverse_mixed(round_key))

    def add_image(self, path, kind, secret):
        image = read_image.Image(path)
        image.unlock(kind, secret)
        image_key = image.image_key(kind, secret)
        self.add_hashed("secret", secret)
        self.add("image key", image_key)
        for i in range(8):
            slot = image.ring[128 + 128 * i:256 + 128 * i]
            if slot[0] == kind:
                self.add("KEK", image.kek_of(slot, kind, secret))
        for purpose, key in image.keys.values():
            if purpose == read_image.MAC_KEY:
                self.add_mac_key(key)
                continue
            self.add_hashed("plane key", key)
            for tib in range(-(-image.super.sectors // read_image.TIB_SECTORS)):
                xts = read_image.hkdf(key, b"", b"sealblk xts v1" + read_image.le64(tib), 64)
                self.add_aes_key("data key", xts[:32])
                self.add_aes_key("tweak key", xts[32:])


# ---- where ---------------------------------------------------------------------

def chunks(pid):
    """What is not all zeros, with enough of the chunk before for a piece to lie across."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory, \
            open(f"/proc/{pid}/maps", encoding="ascii", errors="replace") as maps:
        for line in maps:
            span, mode = line.split(None, 2)[:2]
            first, end = (int(x, 16) for x in span.split("-"))
            if mode[:2] != "rw":
                continue  # nothing of ours was ever written there
            last = b""
            for at in range(first, min(end, first + REGION_MAX), CHUNK):
                try:
                    memory.seek(at)
                    data = memory.read(min(CHUNK, end - at))
                except OSError:
                    break
                if data.count(0) < len(data):
                    yield last + data, at - len(last), line.strip()
                last = data[1 - PIECE:]


def main():
    pids, path, option, name = sys.argv[1:]
    with open(name, "rb") as file:
        secret = file.read()
    kind = read_image.KEK_RAW
    if option == "--passphrase-file":
        kind, secret = read_image.KEK_SCRYPT, secret.split(b"\n", 1)[0]
    needles = Needles()
    needles.add_image(path, kind, secret)
    found = set()
    try:
        for data, at, region in (piece for pid in pids.split(",") for piece in chunks(pid)):
            for needle, what in needles.kind_of.items():
                place = data.find(needle)
                if place >= 0:
                    found.add(f"{what}: in {region}, at {at + place:#x}")
    except PermissionError:
        return 77
    for text in sorted(found):
        print(text)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
