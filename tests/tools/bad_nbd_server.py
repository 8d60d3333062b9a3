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
from bad_nbd_requests import Failure, Peer, Transmission

NAMES = {b"": b"the first", b"second": b""}
CONTEXTS = {b"base:allocation": 1, b"x-bad:parity": 2}
FLAGS = (HAS_FLAGS | SEND_FLUSH | SEND_FUA | SEND_TRIM | SEND_WRITE_ZEROES | SEND_CACHE
         | SEND_FAST_ZERO | CAN_MULTI_CONN)
BYTES = MIB


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
        insists = self.bad("info-insists") or self.bad("info-insists-tersely")
        if insists and INFO_BLOCK_SIZE not in wanted:
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
            if context in words or (wildcards and space in words):
                yield context
        if self.bad("unknown-context-found"):
            yield from (word for word in words if word not in CONTEXTS and word.strip(b":"))

    def list_contexts(self, option, data):
        self.needs_replies()
        words = self.queries(data)[1] or CONTEXTS
        for context in self.matching(words, not self.bad("no-wildcards")):
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
