#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Whether nbd-conformance finds what is wrong with a server.

    conformance_faults.py FOLDER

FOLDER has the sockets of tools/bad_nbd_server.py, started with what this program prints
when it is given no FOLDER: the names of the faults. Each has a row that must find it, and
which the server without a fault passes.
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
    "names-hang": "info-longest-name",
    "unknown-export-closes": "go-unknown-export",
    "zeroes-after-go": "go-no-zeroes",
    "go-tells-less": "info-go-same",
    "sizes-odd": "sizes-min-power-of-2",
    "sizes-untold": "sizes-told-when-enforced",
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
        if right.result != "ok" or wrong.result != "not ok":
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
