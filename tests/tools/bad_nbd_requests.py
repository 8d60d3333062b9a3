# SPDX-License-Identifier: MIT
"""The requests of bad_nbd_server.py."""
import itertools
import struct

from raw_nbd import *  # noqa: F403  one vocabulary, as in the protocol's text

ALLOWED = {READ: FUA | DF, WRITE: FUA, FLUSH: FUA, TRIM: FUA, CACHE: FUA,
           ZEROES: FUA | NO_HOLE | FAST_ZERO, STATUS: FUA | REQ_ONE}


class Failure(Exception):
    """An option or a request ends with this error."""


class Peer:
    """A connection. @disk: shared by all that have the same fault."""

    def __init__(self, connection, fault, disk):
        self.socket, self.fault, self.disk = connection, fault, disk

    def bad(self, fault):
        return self.fault == fault

    def take(self, count):
        data = bytearray()
        while len(data) < count:
            piece = self.socket.recv(min(count - len(data), MIB))
            if not piece:
                raise Closed
            data += piece
        return bytes(data)

    def send(self, data):
        self.socket.sendall(data)


class Transmission(Peer):
    """Requests, one after the other."""

    def __init__(self, haggling):
        super().__init__(haggling.socket, haggling.fault, haggling.disk)
        self.structured, self.extended = haggling.structured, haggling.extended
        same = haggling.selected_for == haggling.chosen or self.bad("contexts-of-another")
        self.contexts = haggling.contexts if same else {}

    def run(self):
        layout, wanted = (">IHHQQQ", REQUEST_EXT) if self.extended else (">IHHQQI", REQUEST)
        while True:
            head = struct.unpack(layout, self.take(struct.calcsize(layout)))
            magic, self.flags, self.command, self.cookie, self.offset, self.length = head
            if magic != wanted:
                raise Closed
            if self.command == DISC and not self.bad("disc-ignored"):
                return
            self.serve_one()

    def serve_one(self):
        has_payload = self.flags & PAYLOAD_LEN if self.extended else self.command == WRITE
        if has_payload and self.length > 32 * MIB and not self.bad("payload-unbounded"):
            raise Closed
        payload = self.take(self.length) if has_payload else b""
        if self.bad("payload-not-dropped") and self.command not in ALLOWED:
            self.take(1)
        try:
            self.COMMANDS.get(self.command, Transmission.unknown)(self, payload)
        except Failure as failure:
            if self.bad("hangs-up-on-errors"):
                raise Closed from failure
            self.fail(failure.args[0])

    # ---- judging ----

    def judge(self, past_end=EINVAL):
        allowed = ALLOWED[self.command]
        if not self.structured:
            allowed &= ~DF
        if self.command == WRITE and self.extended:
            allowed |= PAYLOAD_LEN
            if not self.flags & PAYLOAD_LEN:
                raise Failure(EINVAL)
        if self.command == STATUS and self.extended and self.contexts:
            allowed |= PAYLOAD_LEN
        if self.bad("fua-refused"):
            allowed &= ~FUA
        if self.flags & ~allowed and not self.bad("flags-unseen"):
            raise Failure(EINVAL)
        if self.command == FLUSH:
            return
        if (self.offset | self.length) % 512 and not self.bad("sizes-unminded"):
            raise Failure(EINVAL)
        if self.offset + self.length > len(self.disk):
            raise Failure(EIO if self.bad("past-end-eio") else past_end)

    def unknown(self, _payload):
        if not self.bad("unknown-command-ok"):
            raise Failure(EINVAL)
        self.succeed()

    # ---- commands ----

    def read(self, _payload):
        self.judge()
        data = bytes(self.disk[self.offset:self.offset + self.length])
        if self.bad("read-zeroes"):
            data = bytes(self.length)
        if self.bad("read-short"):
            data = data[:-1]
        if self.extended or (self.structured and not self.bad("read-simple")):
            self.read_chunks(data)
        else:
            self.simple(0, data)

    def read_chunks(self, data):
        """What is not zero in chunks of data, the rest in holes; with DF all in one."""
        blocks = [data[at:at + SECTOR] for at in range(0, len(data), SECTOR)]
        runs = [b"".join(run) for _, run in itertools.groupby(blocks, key=any)]
        if self.flags & DF and not self.bad("df-split"):
            runs = [data]
        if self.bad("chunks-overlap"):
            runs.append(bytes(SECTOR))
        at = self.offset + (1 << 20 if self.bad("chunk-elsewhere") else 0)
        for run in runs[1 if self.bad("chunks-missing") else 0:]:
            self.content(at % len(self.disk) if self.bad("chunks-overlap") else at, run)
            at += len(run) if not self.bad("chunks-overlap") else 0
        self.chunk(CHUNK_DONE, CHUNK_NONE, b"?" if self.bad("none-with-data") else b"")

    def content(self, at, run):
        done = CHUNK_DONE if self.bad("done-early") else 0
        head = struct.pack(">Q", at)
        if any(run) or self.flags & DF:
            self.chunk(done, CHUNK_DATA, head + run)
        elif run:
            size = 0 if self.bad("holes-empty") else len(run)
            self.chunk(done, CHUNK_HOLE, head + struct.pack(">I", size))

    def write(self, payload):
        self.judge(ENOSPC)
        if self.bad("write-one-more"):
            payload += b"!"
        self.disk[self.offset:self.offset + len(payload)] = payload
        self.succeed()

    def flush(self, _payload):
        self.judge()
        self.succeed()

    def trim(self, _payload):
        self.judge()
        if self.bad("trim-more"):
            self.disk[self.offset:self.offset + self.length + 512] = bytes(self.length + 512)
        self.succeed()

    def cache(self, _payload):
        self.judge()
        if self.bad("cache-eats"):
            self.disk[self.offset:self.offset + self.length] = bytes(self.length)
        self.succeed()

    def zeroes(self, _payload):
        self.judge(ENOSPC)
        if self.bad("fast-zero-einval") and self.flags & FAST_ZERO:
            raise Failure(EINVAL)
        if self.bad("zeroes-enotsup"):
            raise Failure(ENOTSUP)
        if not self.bad("zeroes-forgotten"):
            self.disk[self.offset:self.offset + self.length] = bytes(self.length)
        self.succeed()

    def status(self, payload):
        wanted = list(self.contexts)
        if self.flags & PAYLOAD_LEN and wanted:
            wanted = self.named_contexts(payload)
        self.judge()
        if not wanted:
            raise Failure(EINVAL)
        size, state = self.length, 0
        if not any(self.disk[self.offset:self.offset + size]) or self.bad("status-says-zero"):
            state = 2
        if self.bad("status-says-nothing"):
            state = 0
        if self.bad("status-reserved-bits"):
            state |= 1 << 7
        if self.bad("status-empty-extent"):
            size = 0
        if self.bad("status-too-long"):
            size += SECTOR
        if self.bad("status-uneven"):
            size = 100
        for number in wanted[1 if self.bad("status-misses-one") else 0:]:
            self.extents(number, [(size, state)] * (2 if self.bad("status-two") else 1))
        self.chunk(CHUNK_DONE, CHUNK_NONE)

    def named_contexts(self, payload):
        if len(payload) < 8 or len(payload) % 4:
            raise Failure(EINVAL)
        ids = [number for number, in struct.iter_unpack(">I", payload[8:])]
        self.length = struct.unpack(">Q", payload[:8])[0]
        if not ids or len(set(ids)) != len(ids) or set(ids) - set(self.contexts):
            raise Failure(EINVAL)
        return list(self.contexts) if self.bad("status-answers-all") else ids

    def extents(self, number, found):
        if self.extended and not self.bad("status-compact"):
            data = struct.pack(">II", number, len(found))
            self.chunk(0, CHUNK_STATUS_EXT, data + b"".join(
                struct.pack(">QQ", size, state) for size, state in found))
            return
        self.chunk(0, CHUNK_STATUS, struct.pack(">I", number) + b"".join(
            struct.pack(">II", size & 0xffffffff, state) for size, state in found))

    # ---- replies ----

    def succeed(self):
        if self.extended and not self.bad("simple-when-extended"):
            self.chunk(CHUNK_DONE, CHUNK_NONE)
        else:
            self.simple(0)

    def fail(self, error):
        if self.bad("error-undefined"):
            error = 42
        if self.extended or (self.structured and not self.bad("errors-simple")):
            text = b"" if self.bad("error-text-long") else b"no"
            size = 999 if self.bad("error-text-long") else len(text)
            self.chunk(CHUNK_DONE, CHUNK_ERROR, struct.pack(">IH", error, size) + text)
        else:
            late = self.bad("data-with-error") and self.command == READ
            self.simple(error, bytes(512) if late else b"")

    def simple(self, error, data=b""):
        cookie = self.cookie ^ (1 if self.bad("cookie-changed") else 0)
        self.send(struct.pack(">IIQ", SIMPLE, error, cookie) + data)

    def chunk(self, flags, kind, data=b""):
        cookie = self.cookie ^ (1 if self.bad("cookie-changed") else 0)
        if self.bad("never-done"):
            flags = 0
        if self.bad("reply-flags"):
            flags |= 2
        if self.extended:
            offset = 0 if self.bad("offset-not-echoed") else self.offset
            head = struct.pack(">IHHQQQ", CHUNK_EXT, flags, kind, cookie, offset, len(data))
        else:
            head = struct.pack(">IHHQI", STRUCTURED, flags, kind, cookie, len(data))
        self.send(head + data)

    COMMANDS = {READ: read, WRITE: write, FLUSH: flush, TRIM: trim, CACHE: cache, ZEROES: zeroes,
                STATUS: status}
