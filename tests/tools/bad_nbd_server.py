#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An NBD server with one thing wrong, for those who have to find out what.

    bad_nbd_server.py FOLDER FAULT...

Serves the unix socket FOLDER/FAULT for each of them until it is killed, and prints "ready".
The fault "none" is a server that does all it says. A fault is named where it is made, by
bad(NAME). Every socket has 1 MiB of memory of its own to serve, with blocks of 512 bytes.
"""
import os
import socket
import struct
import sys
import threading
import time

from raw_nbd import *  # noqa: F403  one vocabulary, as in the protocol's text

NAMES = {b"": b"the first", b"second": b""}
CONTEXTS = {b"base:allocation": 1, b"x-bad:parity": 2}
FLAGS = (HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_TRIM | SEND_WRITE_ZEROES | SEND_CACHE
         | SEND_FAST_ZERO | CAN_MULTI_CONN)
BYTES = MIB
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


class Haggling(Peer):
    """The handshake; what it comes to is in the attributes."""

    structured = extended = False
    chosen, selected_for, contexts = None, None, {}

    def run(self):
        offered = NO_ZEROES if self.bad("not-fixed") else FIXED_NEWSTYLE | NO_ZEROES
        if self.bad("more-handshake-flags"):
            offered |= 1 << 5
        self.send(NBDMAGIC + IHAVEOPT + struct.pack(">H", offered))
        self.client_flags = struct.unpack(">I", self.take(4))[0]
        if self.client_flags & ~3 and not self.bad("client-flags-unseen"):
            raise Closed
        while self.chosen is None:
            magic, option, size = struct.unpack(">8sII", self.take(16))
            if magic != IHAVEOPT:
                raise Closed
            self.answer(option, size)

    def answer(self, option, size):
        handler = self.HANDLERS.get(option)
        skips = handler or not self.bad("unknown-option-not-skipped")
        data = self.take(size) if skips else b""
        if self.bad("names-hang") and size > 4096:
            time.sleep(60)
        try:
            if not handler:
                raise Failure(REP_ACK if self.bad("unknown-option-ack") else ERR_UNSUP)
            handler(self, option, data)
        except Failure as failure:
            self.reply(option, failure.args[0])
        except struct.error:
            self.reply(option, ERR_INVALID)

    def reply(self, option, kind, data=b""):
        magic = 0 if self.bad("reply-magic") else OPTION_REPLY
        if self.bad("option-not-echoed") and option == 99:
            option = 98
        if self.bad("ack-with-data") and kind == REP_ACK:
            data = b"yes"
        if self.bad("error-with-nul") and kind >> 31:
            data = b"no\0"
        self.send(struct.pack(">QIII", magic, option, kind, len(data)) + data)

    def flags(self, name):
        flags = FLAGS
        if self.structured or self.bad("df-always"):
            flags |= SEND_DF
        if self.extended and (self.contexts or self.bad("payload-flag-always")):
            flags |= STATUS_PAYLOAD
        if self.bad("no-has-flags"):
            flags &= ~HAS_FLAGS
        if self.bad("fast-zero-alone"):
            flags &= ~SEND_WRITE_ZEROES
        if self.bad("reserved-flag"):
            flags |= 1 << 14
        return flags

    def export_name(self, _option, data):
        if data not in NAMES:
            raise Closed
        zeroes = bytes(124) if not self.client_flags & NO_ZEROES else b""
        if self.bad("no-zeroes-ever"):
            zeroes = b""
        if self.bad("zeroes-always"):
            zeroes = bytes(124)
        self.send(struct.pack(">QH", len(self.disk), self.flags(data)) + zeroes)
        self.chosen = data

    def abort(self, option, _data):
        if not self.bad("abort-unanswered"):
            self.reply(option, REP_ACK)
        raise Closed

    def list(self, option, data):
        if data and not self.bad("list-data-taken"):
            raise Failure(ERR_INVALID)
        for name, text in NAMES.items():
            size = 1000 if self.bad("list-name-long") else len(name)
            self.reply(option, REP_SERVER, struct.pack(">I", size) + name + text)
        self.reply(option, REP_ACK)

    def starttls(self, _option, data):
        if self.bad("starttls-ack") and data:
            raise Failure(REP_ACK)
        raise Failure(ERR_TLS_REQD if self.bad("notls-tls-reqd") else ERR_UNSUP)

    def info(self, option, data):
        if self.bad("info-hangs"):
            time.sleep(60)
        size = struct.unpack(">I", data[:4])[0]
        name, rest = data[4:4 + size], data[4 + size:]
        wanted = struct.unpack(">%dH" % struct.unpack(">H", rest[:2])[0], rest[2:])
        if name not in NAMES:
            raise Closed if self.bad("unknown-export-closes") else Failure(ERR_UNKNOWN)
        if not self.bad("export-not-told"):
            told = struct.pack(">HQH", INFO_EXPORT, len(self.disk), self.flags(name))
            self.reply(option, REP_INFO, told)
        if self.bad("info-insists") and INFO_NAME not in wanted:
            raise Failure(ERR_BLOCK_SIZE_REQD)
        self.details(option, name, wanted)
        self.reply(option, REP_ACK)
        if option == OPT_GO:
            self.send(bytes(124) if self.bad("zeroes-after-go") else b"")
            self.chosen = name

    def details(self, option, name, wanted):
        sizes = 512, 4096, 32 * MIB
        if self.bad("sizes-odd"):
            sizes = 500, 5000, 400
        texts = {INFO_NAME: name, INFO_DESCRIPTION: NAMES[name],
                 INFO_BLOCK_SIZE: struct.pack(">III", *sizes)}
        if self.bad("go-tells-less") and option == OPT_GO:
            del texts[INFO_NAME]
        if self.bad("sizes-untold"):
            del texts[INFO_BLOCK_SIZE]
        for kind in wanted:
            if kind in texts:
                self.reply(option, REP_INFO, struct.pack(">H", kind) + texts[kind])

    def reply_kind(self, option, data):
        if data:
            if self.bad("structured-data-taken"):
                self.structured = True
            raise Failure(ERR_INVALID)
        if option == OPT_STRUCTURED and self.extended and not self.bad("structured-over-extended"):
            raise Failure(ERR_EXT_HEADER_REQD)
        self.structured = True
        self.extended = self.extended or option == OPT_EXTENDED
        self.reply(option, REP_ACK)

    def string(self, data):
        """A length and so many bytes; and what is behind them."""
        size = struct.unpack(">I", data[:4])[0]
        if size > len(data) - 4 and not self.bad("queries-overrun"):
            raise Failure(ERR_INVALID)
        return data[4:4 + size], data[4 + size:]

    def queries(self, data):
        """The export's name, and what is asked about it."""
        name, rest = self.string(data)
        count, rest = struct.unpack(">I", rest[:4])[0], rest[4:]
        words = []
        for _ in range(min(count, len(data))):
            word, rest = self.string(rest)
            words.append(word)
        if (rest or count != len(words)) and not self.bad("queries-overrun"):
            raise Failure(ERR_INVALID)
        if name not in NAMES:
            raise Failure(ERR_UNKNOWN)
        return name, words

    def matching(self, words, wildcards):
        for context in CONTEXTS:
            space = context[:context.index(b":") + 1]
            if context in words or (wildcards and (space in words or not words)):
                yield context
        if self.bad("unknown-context-found"):
            yield from (word for word in words if word not in CONTEXTS and word.strip(b":"))

    def list_contexts(self, option, data):
        self.needs_replies()
        for context in self.matching(self.queries(data)[1], not self.bad("no-wildcards")):
            number = 7 if self.bad("listed-context-ids") else 0
            self.reply(option, REP_META, struct.pack(">I", number) + context)
        self.reply(option, REP_ACK)

    def set_contexts(self, option, data):
        self.needs_replies()
        if not self.bad("contexts-kept"):
            self.contexts = {}
        name, words = self.queries(data)
        found = set(self.matching(words, self.bad("wildcards-select")))
        for context in sorted(found) * (2 if self.bad("contexts-twice") else 1):
            number = 1 if self.bad("context-ids-same") else CONTEXTS.get(context, 9)
            self.contexts = {**self.contexts, number: context}
            self.reply(option, REP_META, struct.pack(">I", number) + context)
        self.selected_for = name
        self.reply(option, REP_ACK)

    def needs_replies(self):
        if not self.structured and not self.bad("contexts-early"):
            raise Failure(ERR_INVALID)

    HANDLERS = {OPT_EXPORT_NAME: export_name, OPT_ABORT: abort, OPT_LIST: list,
                OPT_STARTTLS: starttls, OPT_INFO: info, OPT_GO: info, OPT_STRUCTURED: reply_kind,
                OPT_LIST_META: list_contexts, OPT_SET_META: set_contexts,
                OPT_EXTENDED: reply_kind}


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
        half = len(data) // 2
        pieces = [(0, data)]
        if half and (not self.flags & DF or self.bad("df-split")):
            pieces = [(half, data[half:]), (0, data[:half])]
            if self.bad("chunks-overlap"):
                pieces.append((0, data[:1]))
            if self.bad("chunks-missing"):
                pieces.pop()
        for at, piece in pieces:
            at += self.offset + (1 << 20 if self.bad("chunk-elsewhere") else 0)
            done = CHUNK_DONE if self.bad("done-early") else 0
            if piece:
                self.chunk(done, CHUNK_DATA, struct.pack(">Q", at) + piece)
        self.chunk(CHUNK_DONE, CHUNK_NONE)

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
        self.judge()
        if not self.contexts:
            raise Failure(EINVAL)
        wanted = list(self.contexts)
        if self.flags & PAYLOAD_LEN:
            wanted = self.named_contexts(payload)
        for number in wanted[1 if self.bad("status-misses-one") else 0:]:
            size, state = self.length, 0
            if self.bad("status-empty-extent"):
                size = 0
            if self.bad("status-says-zero"):
                state = 3
            if self.bad("status-reserved-bits"):
                state |= 1 << 7
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


def serve(connection, fault, disk):
    try:
        haggling = Haggling(connection, fault, disk)
        haggling.run()
        Transmission(haggling).run()
    except (Closed, OSError):
        pass
    finally:
        connection.close()


def accept_all(listener, fault):
    disk = bytearray(BYTES)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, fault, disk), daemon=True).start()


def main():
    folder, faults = sys.argv[1], sys.argv[2:]
    listeners = {fault: socket.socket(socket.AF_UNIX) for fault in faults}
    for fault, listener in listeners.items():
        listener.bind(os.path.join(folder, fault))
        listener.listen(64)
        threading.Thread(target=accept_all, args=(listener, fault)).start()
    print("ready", flush=True)


if __name__ == "__main__":
    main()
