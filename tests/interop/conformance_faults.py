#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Whether nbd-conformance finds what is wrong with a server.

    conformance_faults.py FOLDER

FOLDER has the sockets of tools/bad_nbd_server.py, started with what this program prints
when it is given no FOLDER: the names of the faults. Each has a row that must find it, and
that finds nothing in the server without a fault.
"""
import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "..", "tools")]
from nbdconf.main import raise_out_of_time, run_row  # noqa: E402
from nbdconf.rows import ROWS  # noqa: E402
from nbdconf.server import Server  # noqa: E402

ROW_OF = {
    "more-handshake-flags": "greeting-no-other-flags",
    "not-fixed": "greeting-fixed-newstyle",
    "client-flags-unseen": "client-flag-unknown",
    "reply-magic": "option-reply-header",
    "option-not-echoed": "option-reply-header",
    "unknown-option-ack": "option-unknown",
    "unknown-option-not-skipped": "option-unknown-with-data",
    "ack-with-data": "option-ack-without-data",
    "error-with-nul": "option-error-text",
    "no-zeroes-ever": "export-name-zeroes",
    "zeroes-always": "export-name-no-zeroes",
    "abort-unanswered": "abort-ack",
    "list-data-taken": "list-data-refused",
    "list-name-long": "list-name-length",
    "starttls-ack": "starttls-data",
    "notls-tls-reqd": "notls-no-tls-reqd",
    "export-not-told": "info-export-unasked",
    "info-hangs": "info-implemented",
    "info-insists": "sizes-not-required",
    "info-insists-tersely": "sizes-told-when-required",
    "names-hang": "info-longest-name",
    "unknown-export-closes": "go-unknown-export",
    "zeroes-after-go": "go-no-zeroes",
    "go-tells-less": "info-go-same",
    "sizes-odd": "sizes-min-power-of-2",
    "sizes-untold": "sizes-told-when-enforced",
    "structured-data-taken": "structured-data-no-effect",
    "structured-over-extended": "extended-then-structured",
    "queries-overrun": "contexts-query-overruns",
    "no-wildcards": "contexts-base-wildcard",
    "unknown-context-found": "contexts-unknown-leaf",
    "listed-context-ids": "contexts-listed-ids",
    "contexts-kept": "contexts-lost-by-failure",
    "contexts-twice": "contexts-selected-once",
    "context-ids-same": "contexts-selected-ids",
    "contexts-early": "contexts-set-early",
    "contexts-of-another": "contexts-of-another-export",
    "wildcards-select": "contexts-base-selects-nothing",
    "no-has-flags": "flags-has-flags",
    "reserved-flag": "flags-defined",
    "df-always": "flags-df-simple",
    "fast-zero-alone": "flags-fast-zero",
    "payload-flag-always": "payload-flag-needs-contexts",
    "cookie-changed": "reply-cookie",
    "data-with-error": "reply-error-without-data",
    "disc-ignored": "disc-closes",
    "fua-refused": "fua-when-writing",
    "payload-unbounded": "extended-payload-too-long",
    "payload-not-dropped": "unknown-command",
    "hangs-up-on-errors": "errors-keep-connection",
    "flags-unseen": "unknown-flag-write",
    "sizes-unminded": "unaligned-read",
    "past-end-eio": "past-end-write",
    "unknown-command-ok": "unknown-command",
    "read-zeroes": "write-then-read",
    "read-short": "reply-length",
    "write-one-more": "write-only-there",
    "trim-more": "trim-only-there",
    "cache-eats": "cache-changes-nothing",
    "fast-zero-einval": "fast-zero-answer",
    "zeroes-enotsup": "zeroes-not-enotsup",
    "zeroes-forgotten": "zeroes-read-back",
    "error-undefined": "errors-defined",
    "read-simple": "chunks-for-read",
    "done-early": "chunks-done",
    "never-done": "chunks-done",
    "reply-flags": "chunks-flags",
    "none-with-data": "chunks-none",
    "holes-empty": "chunks-hole",
    "chunk-elsewhere": "chunks-within",
    "chunks-overlap": "chunks-apart",
    "chunks-missing": "chunks-complete",
    "df-split": "df-one-chunk",
    "errors-simple": "error-chunk-preferred",
    "error-text-long": "error-chunk-text-fits",
    "status-misses-one": "status-chunk-for-each",
    "status-empty-extent": "status-not-empty",
    "status-two": "status-req-one",
    "status-too-long": "status-req-one-length",
    "status-uneven": "status-blocks",
    "status-reserved-bits": "status-reserved-bits",
    "status-says-zero": "status-data-is-not-zero",
    "status-says-nothing": "status-tells",
    "status-compact": "extended-status-type",
    "status-answers-all": "payload-names-contexts",
    "simple-when-extended": "extended-replies",
    "offset-not-echoed": "extended-offset",
}
DEADLINE_S = 1


def outcome(folder, fault, row):
    server = Server("nbd+unix:///?socket=" + os.path.join(folder, fault), DEADLINE_S / 2)
    return run_row(row, server, DEADLINE_S)


def main(folder):
    rows = {row.id: row for row in ROWS}
    missed = 0
    for fault, ident in ROW_OF.items():
        right = outcome(folder, "none", rows[ident])
        wrong = outcome(folder, fault, rows[ident])
        print("%-28s %-28s %s: %s" % (fault, ident, wrong.result, wrong.why))
        if right.result == "not ok" or wrong.result != "not ok":
            print("  not found, or found without the fault: %s, %s" % (right.result, right.why))
            missed += 1
    print("%d faults, %d not found" % (len(ROW_OF), missed))
    return 1 if missed else 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        print("\n".join(ROW_OF))
        sys.exit(0)
    signal.signal(signal.SIGALRM, raise_out_of_time)
    sys.exit(main(sys.argv[1]))
