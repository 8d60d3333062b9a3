#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads a sealblk image: a second implementation, written from docs/format.md.

A test oracle. It shares nothing with the daemon but that page: Python's
standard library, and libcrypto for AES-GCM and AES-XTS. It is slow, and it
never writes to anything but its standard output.

    read_image.py IMAGE                                   what needs no key
    read_image.py IMAGE --key-file K                      checks MACs as well
    read_image.py IMAGE --key-file K --map                states, "first count state"
    read_image.py IMAGE --key-file K [--base B] --read FIRST NR >sectors

Exit: 0 ok, 1 cannot do it, 3 image damaged or refused, 4 no key opens it.
"""
import argparse
import ctypes
import hashlib
import hmac
import os
import sys

SECTOR = 512
MIB = 1 << 20
TIB_SECTORS = 1 << 31
BLOCK = 4096
BODY_AT = 128
BLOCK_SECTORS = 7936
BITMAP_BITS = 31744
CLEAN, UNCLEAN = 1, 2
PLAIN, SEALED = 1, 2
KEK_RAW, KEK_SCRYPT = 1, 2
IMAGE_KEY, PLANE_KEY, MAC_KEY = 1, 2, 3
PLANES_MAX = 14
KEYRINGS = (128 << 10, 192 << 10)
NAMES = (256 << 10, 320 << 10)
DIRTY_BYTES = 2101248
DIRTY_RECORDS = 32768


class Refused(Exception):
    """The image is damaged, forged, or of a kind this reader does not know."""


class KeyRejected(Exception):
    """No secret opens a slot."""


class Unreadable(Exception):
    """Something beside the image is missing or wrong."""


def number(data, offset, size):
    return int.from_bytes(data[offset:offset + size], "little")


def le64(value):
    return value.to_bytes(8, "little")


def ceil_div(a, b):
    return -(-a // b)


def up_to_mib(value):
    return ceil_div(value, MIB) * MIB


def zeroed(data, *ranges):
    copy = bytearray(data)
    for offset, size in ranges:
        copy[offset:offset + size] = bytes(size)
    return bytes(copy)


def uuid_text(raw):
    text = raw.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


# ---- primitives -------------------------------------------------------------

def make_crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = make_crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def hkdf(secret, salt, info, length):
    """HKDF-SHA-512, RFC 5869."""
    prk = hmac.new(salt or bytes(64), secret, hashlib.sha512).digest()
    out = last = b""
    while len(out) < length:
        last = hmac.new(prk, last + info + bytes([len(out) // 64 + 1]), hashlib.sha512).digest()
        out += last
    return out[:length]


class Crypto:
    """The two ciphers that the standard library lacks, through libcrypto's EVP."""

    GCM_SET_TAG = 0x11

    def __init__(self):
        self.lib = ctypes.CDLL("libcrypto.so.3")
        for name in ("EVP_CIPHER_CTX_new", "EVP_aes_256_gcm", "EVP_aes_256_xts"):
            getattr(self.lib, name).restype = ctypes.c_void_p
        self.lib.EVP_CIPHER_CTX_new.argtypes = ()
        self.lib.EVP_CIPHER_CTX_free.argtypes = (ctypes.c_void_p,)
        self.lib.EVP_DecryptInit_ex.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p,
                                                ctypes.c_char_p, ctypes.c_char_p)
        self.lib.EVP_DecryptUpdate.argtypes = (ctypes.c_void_p, ctypes.c_char_p,
                                               ctypes.POINTER(ctypes.c_int), ctypes.c_char_p,
                                               ctypes.c_int)
        self.lib.EVP_DecryptFinal_ex.argtypes = (ctypes.c_void_p, ctypes.c_char_p,
                                                 ctypes.POINTER(ctypes.c_int))
        self.lib.EVP_CIPHER_CTX_ctrl.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_int,
                                                 ctypes.c_void_p)

    def gcm_open(self, key, nonce, wrapped, aad, tag):
        """The plaintext, or None when the tag does not match."""
        lib, done = self.lib, ctypes.c_int()
        out = ctypes.create_string_buffer(len(wrapped))
        ctx = lib.EVP_CIPHER_CTX_new()
        try:
            ok = (lib.EVP_DecryptInit_ex(ctx, lib.EVP_aes_256_gcm(), None, key, nonce) == 1
                  and lib.EVP_DecryptUpdate(ctx, None, done, aad, len(aad)) == 1
                  and lib.EVP_DecryptUpdate(ctx, out, done, wrapped, len(wrapped)) == 1
                  and lib.EVP_CIPHER_CTX_ctrl(ctx, self.GCM_SET_TAG, len(tag), tag) == 1)
            if not ok:
                raise Unreadable("libcrypto fails at AES-256-GCM")
            last = ctypes.create_string_buffer(16)
            return out.raw if lib.EVP_DecryptFinal_ex(ctx, last, done) == 1 else None
        finally:
            lib.EVP_CIPHER_CTX_free(ctx)

    def xts_decrypt(self, key, sector, data):
        lib, done = self.lib, ctypes.c_int()
        out = ctypes.create_string_buffer(len(data))
        ctx = lib.EVP_CIPHER_CTX_new()
        try:
            tweak = le64(sector) + bytes(8)
            if (lib.EVP_DecryptInit_ex(ctx, lib.EVP_aes_256_xts(), None, key, tweak) != 1
                    or lib.EVP_DecryptUpdate(ctx, out, done, data, len(data)) != 1):
                raise Unreadable("libcrypto fails at AES-256-XTS")
            return out.raw
        finally:
            lib.EVP_CIPHER_CTX_free(ctx)


CRYPTO = Crypto()


# ---- structures -------------------------------------------------------------

class Form:
    """Where a structure keeps what all structures have."""

    def __init__(self, magic, crc, mac, mac_key_id):
        self.magic = magic.ljust(8, b"\0")
        self.crc, self.mac, self.mac_key_id = crc, mac, mac_key_id

    def is_whole(self, data):
        return crc32c(zeroed(data, (self.crc, 4))) == number(data, self.crc, 4)

    def has_magic(self, data):
        return data[:8] == self.magic

    def mac_is_good(self, data, key):
        blank = zeroed(data, (self.crc, 4), (self.mac, 32))
        mac = hmac.new(key, blank, hashlib.sha256).digest()
        return hmac.compare_digest(mac, data[self.mac:self.mac + 32])


SUPERBLOCK = Form(b"SEALBLK", 4092, 4056, 4048)
KEYRING = Form(b"SEALKEY", 8, 56, 48)
NAMES_AREA = Form(b"SEALNAM", 8, 48, 40)
MAP = Form(b"SEALMAP", 8, 40, 32)
BITMAP = Form(b"SEALWBM", 8, 40, 32)


class Plane:
    def __init__(self, row):
        self.kind = row[0]
        self.key_id = number(row, 8, 8)
        self.first_sector = number(row, 16, 8)
        self.sectors = number(row, 24, 8)
        self.offset = number(row, 32, 8)
        self.born = number(row, 40, 8)


class Superblock:
    def __init__(self, data):
        self.data = data
        self.version = number(data, 8, 4)
        self.incompat = number(data, 32, 8)
        self.uuid = data[40:56]
        self.generation = number(data, 56, 8)
        self.disk_bytes = number(data, 64, 8)
        self.bitmap_blocks = number(data, 136, 8)
        self.map_offset = number(data, 144, 8)
        self.map_blocks = number(data, 152, 8)
        self.encryption = data[168]
        self.current = data[169]
        self.revoked = data[170]
        self.has_base = data[171]
        self.open_state = data[184]
        self.open_seq = number(data, 192, 8)
        self.open_nonce = data[200:216]
        self.boot_id = data[216:232]
        self.planes = [Plane(data[512 + 64 * i:576 + 64 * i]) for i in range(PLANES_MAX)]
        self.mac_key_id = number(data, SUPERBLOCK.mac_key_id, 8)
        self.counts = [number(data, 256 + 8 * i, 8) for i in range(16)]
        self.counts_base_data = number(data, 392, 8)
        self.has_counts = (self.open_state == CLEAN
                           and number(data, 384, 8) == self.generation)

    @property
    def sectors(self):
        return self.disk_bytes // SECTOR

    def plane_of(self, entry):
        """Of a map value 2..15; None when there is none."""
        plane = self.planes[entry - 2]
        return plane if plane.kind else None

    def check_geometry(self):
        data = self.data
        if not 0 < self.disk_bytes <= 64 << 40 or self.disk_bytes % SECTOR:
            raise Refused("disk size")
        map_blocks = ceil_div(self.sectors, BLOCK_SECTORS)
        bitmap_blocks = ceil_div(map_blocks, BITMAP_BITS)
        map_offset = up_to_mib(MIB + 2 * BLOCK * bitmap_blocks)
        fixed = {12: 4096, 72: 4, 76: BLOCK, 80: BLOCK_SECTORS, 84: 16384, 120: 32768}
        wide = {88: KEYRINGS[0], 96: KEYRINGS[1], 104: NAMES[0], 112: NAMES[1], 128: MIB,
                136: bitmap_blocks, 144: map_offset, 152: map_blocks}
        if (any(number(data, at, 4) != value for at, value in fixed.items())
                or any(number(data, at, 8) != value for at, value in wide.items())):
            raise Refused("superblock contradicts itself")
        self.check_planes(up_to_mib(map_offset + 2 * BLOCK * map_blocks))
        self.check_policy()

    def check_planes(self, first):
        length = up_to_mib(self.disk_bytes)
        used = [plane for plane in self.planes if plane.kind]
        for plane in used:
            nth, rest = divmod(plane.offset - first, length)
            if (plane.kind not in (PLAIN, SEALED) or plane.first_sector != 0
                    or plane.sectors != self.sectors or rest or not 0 <= nth < PLANES_MAX
                    or (plane.kind == SEALED) != (plane.key_id != 0)):
                raise Refused("plane table")
        if len({plane.offset for plane in used}) != len(used):
            raise Refused("two planes in one place")

    def check_policy(self):
        if (max(self.encryption, self.revoked, self.has_base) > 1
                or self.open_state not in (CLEAN, UNCLEAN) or self.open_seq >> 24
                or not 2 <= self.current <= 15):
            raise Refused("policy")
        if self.planes[self.current - 2].kind != (SEALED if self.encryption else PLAIN):
            raise Refused("policy and plane table contradict each other")


class Image:
    def __init__(self, path):
        self.file = open(path, "rb", buffering=0)
        self.path = path
        self.keys = {}
        self.mac_key = None
        self.base = None
        self.blocks = {}
        self.bitmaps = {}
        self.dirty = []
        self.super = self.load_super()
        self.ring = self.load_area(KEYRING, KEYRINGS, 16384, 32)
        self.names_data = self.load_area(NAMES_AREA, NAMES, 32768, 32)
        self.names = self.parse_names()

    def at(self, offset, size):
        data = os.pread(self.file.fileno(), size, offset)
        if len(data) != size:
            raise Refused(f"ends before byte {offset + size}")
        return data

    def load_super(self):
        whole = []
        for offset in (0, 65536):
            data = self.at(offset, 4096)
            if SUPERBLOCK.has_magic(data) and SUPERBLOCK.is_whole(data):
                whole.append(Superblock(data))
        if not whole:
            raise Refused("no whole superblock")
        best = max(whole, key=lambda copy: copy.generation)
        if best.version != 1:
            raise Refused(f"version {best.version}")
        if best.incompat:
            raise Refused("unknown incompatible feature")
        best.check_geometry()
        return best

    def load_area(self, form, offsets, size, generation_at):
        best = None
        for offset in offsets:
            data = self.at(offset, size)
            if (form.has_magic(data) and data[16:32] == self.super.uuid and form.is_whole(data)
                    and (best is None
                         or number(data, generation_at, 8) > number(best, generation_at, 8))):
                best = data
        if best is None:
            raise Refused(f"no whole {form.magic.decode()}")
        return best

    def parse_names(self):
        data, names = self.names_data, {}
        at, end = 128, 128 + number(self.names_data, 12, 4)
        if end > len(data):
            raise Refused("name/value area too long")
        while at < end:
            name_bytes, value_bytes = number(data, at, 2), number(data, at + 2, 4)
            name = data[at + 6:at + 6 + name_bytes]
            at += 6 + name_bytes + value_bytes
            if not 1 <= name_bytes <= 255 or value_bytes > 8192 or at > end or b"\0" in name \
                    or name in names or len(names) == 512:
                raise Refused("name/value record")
            names[name] = data[at - value_bytes:at]
        return {name.decode("utf-8", "backslashreplace"): value for name, value in names.items()}

    # ---- keys

    def aad(self, key_id, purpose):
        return b"sealblk wrap v1\0" + self.super.uuid + le64(key_id) + le64(purpose)

    def kek_of(self, slot, kind, secret):
        salt = slot[24:56]
        if kind == KEK_RAW:
            return hkdf(secret, salt, b"sealblk kek v1" + self.super.uuid, 32)
        log_n, r, p = slot[1], slot[2], slot[3]
        if not (1 <= log_n <= 20 and 1 <= r <= 32 and 1 <= p <= 16 and log_n < 16 * r
                and 128 * r << log_n <= 1 << 30):
            raise Refused("scrypt parameters")
        return hashlib.scrypt(secret, salt=salt, n=1 << log_n, r=r, p=p, dklen=32,
                              maxmem=128 * r * ((1 << log_n) + p + 2) + MIB)

    def image_key(self, kind, secret):
        for i in range(8):
            slot = self.ring[128 + 128 * i:256 + 128 * i]
            if slot[0] != kind:
                continue
            key = CRYPTO.gcm_open(self.kek_of(slot, kind, secret), slot[56:68], slot[68:100],
                                  self.aad(number(slot, 8, 8), IMAGE_KEY), slot[100:116])
            if key is not None:
                return key
        raise KeyRejected("no slot opens with this key")

    def unwrap_rows(self, image_key, offset, nr_rows, purpose):
        for i in range(nr_rows):
            row = self.ring[offset + 128 * i:offset + 128 * (i + 1)]
            key_id = number(row, 8, 8)
            if row[0] == 0:
                continue
            if row[0] != purpose or key_id == 0:
                raise Refused("wrapped key in the wrong place")
            wrapped = row[36:68] if purpose == MAC_KEY else row[36:100]
            key = CRYPTO.gcm_open(image_key, row[24:36], wrapped, self.aad(key_id, purpose),
                                  row[100:116])
            if key is None:
                raise Refused(f"key {key_id} does not unwrap")
            self.keys[key_id] = (purpose, key)

    def find_key(self, key_id, purpose):
        found = self.keys.get(key_id)
        if not found or found[0] != purpose:
            raise Refused(f"key {key_id} is missing")
        return found[1]

    def unlock(self, kind, secret):
        image_key = self.image_key(kind, secret)
        self.unwrap_rows(image_key, 1152, 4, MAC_KEY)
        self.unwrap_rows(image_key, 1664, 32, PLANE_KEY)
        ring_key = self.find_key(number(self.ring, KEYRING.mac_key_id, 8), MAC_KEY)
        self.mac_key = self.find_key(self.super.mac_key_id, MAC_KEY)
        for form, data, key in ((KEYRING, self.ring, ring_key),
                                (SUPERBLOCK, self.super.data, self.mac_key),
                                (NAMES_AREA, self.names_data, self.mac_key)):
            if not form.mac_is_good(data, key):
                raise Refused(f"wrong MAC: {form.magic.decode()}")
        for plane in self.super.planes:
            if plane.kind == SEALED:
                self.find_key(plane.key_id, PLANE_KEY)

    # ---- map

    def check_block(self, form, data, index):
        if (not form.has_magic(data) or data[72:88] != self.super.uuid
                or number(data, 16, 8) != index
                or number(data, form.mac_key_id, 8) != self.super.mac_key_id):
            raise Refused(f"{form.magic.decode()} block {index} is not what its place says")
        if self.mac_key and not form.mac_is_good(data, self.mac_key):
            raise Refused(f"{form.magic.decode()} block {index}: wrong MAC")
        if form is MAP:
            generation = number(data, 24, 8)
            for pair in set(data[BODY_AT:]):
                for entry in (pair & 15, pair >> 4):
                    if entry >= 2 and (not self.super.plane_of(entry)
                                       or self.super.plane_of(entry).born > generation):
                        raise Refused(f"map block {index} names a plane it cannot know")

    def pick(self, form, offset, index):
        """The body that counts, of a pair of slots."""
        pair = self.at(offset + 2 * BLOCK * index, 2 * BLOCK)
        slots = [pair[:BLOCK], pair[BLOCK:]]
        same = slots[0] == slots[1]
        if self.super.open_state == CLEAN and not same:
            raise Refused(f"{form.magic.decode()} block {index}: slots differ on a clean image")
        whole = [data for data in (slots[:1] if same else slots) if form.is_whole(data)]
        for data in whole:
            self.check_block(form, data, index)
        if not whole:
            raise Refused(f"{form.magic.decode()} block {index}: no whole slot")
        if len(whole) == 2 and number(whole[0], 24, 8) == number(whole[1], 24, 8):
            raise Refused(f"{form.magic.decode()} block {index}: two of one generation")
        return max(whole, key=lambda data: number(data, 24, 8))[BODY_AT:]

    def is_written(self, block):
        index, bit = divmod(block, BITMAP_BITS)
        if index not in self.bitmaps:
            self.bitmaps[index] = self.pick(BITMAP, MIB, index)
        return self.bitmaps[index][bit // 8] >> bit % 8 & 1

    def entries(self, block):
        """The 7936 entries of a map block, the dirty file's merged in."""
        if block in self.blocks:
            return self.blocks[block]
        if self.is_written(block):
            body = self.pick(MAP, self.super.map_offset, block)
        else:
            body = bytes(BLOCK - BODY_AT)
        entries = bytearray(BLOCK_SECTORS)
        entries[0::2] = bytes(byte & 15 for byte in body)
        entries[1::2] = bytes(byte >> 4 for byte in body)
        first = block * BLOCK_SECTORS
        for record_first, nr, entry in self.dirty:
            begin = max(record_first - first, 0)
            end = min(record_first + nr - first, BLOCK_SECTORS)
            if begin < end:
                entries[begin:end] = bytes([entry]) * (end - begin)
        self.blocks[block] = entries
        return entries

    def runs(self, first, nr):
        """(first, nr, entry) of the range, in order, cut at map blocks."""
        at, end = first, first + nr
        while at < end:
            block, j = divmod(at, BLOCK_SECTORS)
            entries = self.entries(block)
            stop = min(end - at + j, BLOCK_SECTORS)
            entry, k = entries[j], j + 1
            while k < stop and entries[k] == entry:
                k += 1
            yield at, k - j, entry
            at += k - j

    # ---- the dirty file

    def adopt_dirty(self, path):
        with open(path, "rb") as file:
            data = file.read()
        header = b"SEALDRT\0" + self.super.uuid + self.super.open_nonce + self.super.boot_id \
            + le64(os.fstat(self.file.fileno()).st_ino) + le64(self.super.mac_key_id)
        if len(data) != DIRTY_BYTES or data[:72] != header:
            raise Refused("the dirty file is not of this image and open")
        mac = hmac.new(self.mac_key, header, hashlib.sha256).digest()
        if not hmac.compare_digest(mac, data[72:104]):
            raise Refused("the dirty file has a wrong MAC")
        if int.from_bytes(data[120:128], sys.byteorder):
            raise Refused("the dirty file is void")
        areas = [(int.from_bytes(data[104 + 8 * i:112 + 8 * i], sys.byteorder), i)
                 for i in range(2)]
        for seq, i in sorted(areas):
            if seq:
                self.adopt_area(data, 4096 + i * DIRTY_RECORDS * 32, seq)

    def adopt_area(self, data, offset, seq):
        for i in range(DIRTY_RECORDS):
            record = data[offset + 32 * i:offset + 32 * (i + 1)]
            if (number(record, 16, 8) != seq or number(record, 24, 4) != i
                    or number(record, 28, 4) != crc32c(self.super.open_nonce + record[:28])):
                return
            self.dirty.append((number(record, 0, 8), number(record, 8, 4), record[12]))

    # ---- the base

    def base_path(self):
        absolute = self.names["base.path_absolute"]
        if os.path.exists(absolute):
            return absolute
        folder = os.path.dirname(os.path.realpath(os.fsencode(self.path)))
        return os.path.join(folder, self.names["base.path_relative"])

    def open_base(self, path):
        wanted = self.names
        if wanted.get("base.format") not in (b"raw", b"vhd"):
            raise Refused("no sound record of a base")
        self.base = open(path or self.base_path(), "rb", buffering=0)
        size = os.fstat(self.base.fileno()).st_size
        if size != number(wanted["base.file_bytes"], 0, 8):
            raise Refused(f"the base has changed: {size} bytes")
        footer = os.pread(self.base.fileno(), 512, max(size - 512, 0))
        if footer == wanted.get("base.owned_footer"):
            return  # adopted: its content goes
        if self.digest(wanted["base.digest_kind"], size) != wanted["base.digest"]:
            raise Refused("the base has changed: its digest differs")
        if wanted["base.format"] == b"vhd" and footer != wanted["base.footer"]:
            raise Refused("the base has changed: its footer differs")

    def digest(self, kind, size):
        digest = hashlib.sha256()

        def add(offset, nr):
            while nr > 0:
                part = os.pread(self.base.fileno(), min(nr, MIB), offset)
                if not part:
                    raise Unreadable("the base ends early")
                digest.update(part)
                offset, nr = offset + len(part), nr - len(part)

        if kind == b"sha256-full":
            add(0, size)
        elif kind == b"sha256-sampled":
            blocks = (size - 2 * MIB) // 4096
            digest.update(le64(size))
            add(0, MIB)
            for i in range(2048):
                add(MIB + 4096 * (i * blocks // 2048), 4096)
            add(size - MIB, MIB)
        else:
            raise Refused("unknown kind of digest")
        return digest.digest()

    def read_base(self, first, nr):
        if not self.super.has_base:
            return bytes(nr * SECTOR)
        data_bytes = min(number(self.names["base.file_bytes"], 0, 8),
                         number(self.names["base.disk_bytes"], 0, 8))
        stored = max(min(nr * SECTOR, data_bytes - first * SECTOR), 0)
        data = os.pread(self.base.fileno(), stored, first * SECTOR) if stored else b""
        if len(data) != stored:
            raise Unreadable("the base ends early")
        return data + bytes(nr * SECTOR - stored)

    # ---- sectors

    def read_plane(self, entry, first, nr):
        plane = self.super.plane_of(entry)
        data = self.at(plane.offset + first * SECTOR, nr * SECTOR)
        if plane.kind == PLAIN:
            return data
        plane_key = self.find_key(plane.key_id, PLANE_KEY)
        out, last_tib, key = [], None, None
        for i in range(nr):
            tib = (first + i) // TIB_SECTORS
            if tib != last_tib:
                key = hkdf(plane_key, b"", b"sealblk xts v1" + le64(tib), 64)
                last_tib = tib
            out.append(CRYPTO.xts_decrypt(key, first + i, data[i * SECTOR:(i + 1) * SECTOR]))
        return b"".join(out)

    def read(self, first, nr):
        for at, count, entry in self.runs(first, nr):
            if entry == 0:
                yield self.read_base(at, count)
            elif entry == 1:
                yield bytes(count * SECTOR)
            else:
                yield self.read_plane(entry, at, count)

    def state_of(self, entry):
        if entry == 0:
            return "base" if self.super.has_base else "zero"
        if entry == 1:
            return "zero"
        return "sealed" if self.super.plane_of(entry).kind == SEALED else "plain"

    def states(self):
        """(first, nr, state) of the whole disk; holes of the base count as base."""
        last = None
        for block in range(self.super.map_blocks):
            first = block * BLOCK_SECTORS
            for at, nr, entry in self.runs(first, min(BLOCK_SECTORS, self.super.sectors - first)):
                state = self.state_of(entry)
                if last and last[2] == state:
                    last = (last[0], last[1] + nr, state)
                    continue
                if last:
                    yield last
                last = (at, nr, state)
        yield last


    def verify_counts(self):
        """Are the superblock's counts those of the map? "none" where it has none."""
        if not self.super.has_counts:
            return "none"
        counts = [0] * 16
        for block in range(self.super.map_blocks):
            first = block * BLOCK_SECTORS
            for _, nr, entry in self.runs(first, min(BLOCK_SECTORS, self.super.sectors - first)):
                counts[entry] += nr
        if counts != self.super.counts or self.super.counts_base_data > counts[0]:
            raise Refused(f"counts {self.super.counts}, but the map has {counts}")
        return "right"


# ---- the program ------------------------------------------------------------

def print_info(image):
    sup = image.super
    print(f"uuid: {uuid_text(sup.uuid)}")
    print(f"disk_bytes: {sup.disk_bytes}")
    print(f"generation: {sup.generation}")
    print(f"encryption_enabled: {sup.encryption}")
    print(f"current_plane: {sup.current}")
    print(f"open_state: {'clean' if sup.open_state == CLEAN else 'unclean'}")
    print(f"open_seq: {sup.open_seq}")
    print(f"open_nonce: {uuid_text(sup.open_nonce)}")
    for i, plane in enumerate(sup.planes):
        if plane.kind:
            kind = "sealed" if plane.kind == SEALED else "plain"
            print(f"plane {i + 2}: {kind}, key {plane.key_id}, at {plane.offset}")
    for i in range(8):
        slot = image.ring[128 + 128 * i:256 + 128 * i]
        if slot[0]:
            kind = {KEK_RAW: "key file", KEK_SCRYPT: "passphrase"}.get(slot[0], "unknown")
            print(f"slot {i}: {kind}, key {number(slot, 8, 8)}")
    if sup.has_base:
        print(f"base: {image.names.get('base.path', b'').decode('utf-8', 'backslashreplace')}")
    counts = {"base": 0, "zero": 0, "plain": 0, "sealed": 0}
    for _, nr, state in image.states():
        counts[state] += nr
    for state, nr in counts.items():
        print(f"sectors.{state}: {nr}")
    print(f"counts: {image.verify_counts()}")
    print(f"macs: {'checked' if image.mac_key else 'not checked'}")


def parse_arguments():
    parser = argparse.ArgumentParser(description="reads a sealblk image; see docs/format.md")
    parser.add_argument("image")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--key-file", metavar="FILE")
    source.add_argument("--passphrase-file", metavar="FILE")
    parser.add_argument("--base", metavar="FILE", help="instead of where the image says")
    parser.add_argument("--dirty", metavar="FILE", help="merge this dirty file first")
    parser.add_argument("--map", action="store_true", help="print the state of every range")
    parser.add_argument("--read", nargs=2, type=int, metavar=("FIRST", "NR"),
                        help="sectors, to standard output; NR 0: to the end")
    return parser.parse_args()


def secret_of(args):
    if args.key_file:
        with open(args.key_file, "rb") as file:
            return KEK_RAW, file.read()
    if args.passphrase_file:
        with open(args.passphrase_file, "rb") as file:
            return KEK_SCRYPT, file.read().split(b"\n", 1)[0]
    return None


def write_sectors(image, first, nr):
    nr = nr or image.super.sectors - first
    if first < 0 or nr < 0 or first + nr > image.super.sectors:
        raise Unreadable(f"the disk has {image.super.sectors} sectors")
    if image.super.has_base and image.base is None:
        image.open_base(None)
    for data in image.read(first, nr):
        sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def run(args):
    image = Image(args.image)
    secret = secret_of(args)
    if secret:
        image.unlock(*secret)
    elif args.read or args.dirty:
        raise Unreadable("--read and --dirty need a key")
    if args.base:
        image.open_base(args.base)
    if args.dirty:
        image.adopt_dirty(args.dirty)
    if args.read:
        write_sectors(image, *args.read)
    elif args.map:
        for first, nr, state in image.states():
            print(first, nr, state)
    else:
        print_info(image)


def main():
    try:
        run(parse_arguments())
    except Refused as why:
        print(f"refused: {why}", file=sys.stderr)
        return 3
    except KeyRejected as why:
        print(f"key rejected: {why}", file=sys.stderr)
        return 4
    except (Unreadable, OSError) as why:
        print(f"failed: {why}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
