# SPDX-License-Identifier: MIT
"""The command line, and the running of rows."""
import argparse
import json
import signal
import sys
from collections import namedtuple

from raw_nbd import Closed
from . import (handshake, info, contexts, selecting, transmission,  # noqa: F401  their rows
               commands, ranges, errors, structured, status, extended)
from .report import Tap, counts, list_rows, to_json
from .rows import ROWS, Lacking, NotApplicable, Row
from .server import BadUri, Gone, Server
from .table import print_table

DESCRIPTION = """\
Holds an NBD server against the protocol's text: a row for each thing that it MUST or
SHOULD do. THE DATA OF THE EXPORT IS OVERWRITTEN; it has to have 1 MiB at least, and 256
blocks of the server's minimum size. Rows that a server has nothing to show for, since it
does not offer something or since the export is read-only, are "n/a", and say why."""

EPILOG = """\
URI: nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=PATH.
Exit status: 0 when no MUST is broken (with --strict: no SHOULD either), 1 otherwise, 2
for a command line that makes no sense."""

Outcome = namedtuple("Outcome", "row result lacks why")  # ok, not ok, n/a


class OutOfTime(Exception):
    """The row's deadline has passed."""


def raise_out_of_time(_signal, _frame):
    raise OutOfTime


def run_row(row, server, seconds):
    """The outcome of one row, with connections of its own and a deadline."""
    try:
        return check_row(row, server, seconds)
    except OutOfTime:
        return Outcome(row, "not ok", False, "no answer")
    finally:
        server.hang_up()


def check_row(row, server, seconds):
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return Outcome(row, "ok", False, row.check(server))
    except (OutOfTime, Gone):
        raise
    except NotApplicable as reason:
        return Outcome(row, "n/a", isinstance(reason, Lacking), str(reason))
    except TimeoutError:
        return Outcome(row, "not ok", False, "no answer")
    except Closed:
        return Outcome(row, "not ok", False, "the server closed the connection")
    except AssertionError as error:
        return Outcome(row, "not ok", False, str(error) or "not so")
    except Exception as error:  # whatever it was sent, the program goes on
        return Outcome(row, "not ok", False, "%s: %s" % (type(error).__name__, error))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def why_not(server, seconds):
    """Why there is no use in looking at this server; None if there is, or it does not say."""
    row = Row("", "", "", "", "", None, Server.unfit)
    outcome = run_row(row, server, seconds)
    return outcome.why if outcome.result == "ok" else None


def run(rows, server, seconds, say):
    outcomes = []
    for row in rows:
        outcomes.append(run_row(row, server, seconds))
        say(len(outcomes), outcomes[-1])
    return outcomes


def parse_arguments():
    parser = argparse.ArgumentParser(prog="nbd-conformance", description=DESCRIPTION,
                                     epilog=EPILOG, allow_abbrev=False,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("uri", nargs="?", metavar="URI")
    parser.add_argument("--only", metavar="ID[,ID...]", help="these rows and no others")
    parser.add_argument("--strict", action="store_true", help="a broken SHOULD counts as well")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=10,
                        help="for each row (10)")
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument("--list", action="store_true", help="print all rows")
    parser.add_argument("--table", nargs="+", metavar="NAME=FILE[,FILE...]",
                        help="join what --json printed for several servers into a table in "
                        "Markdown; what is n/a in one file is taken from the next")
    arguments = parser.parse_args()
    if bool(arguments.uri) + arguments.list + bool(arguments.table) != 1:
        parser.error("give a URI, or --list, or --table")
    if arguments.timeout <= 0:
        parser.error("--timeout %g: no time at all" % arguments.timeout)
    return parser, arguments


def chosen_rows(parser, only):
    if not only:
        return ROWS
    wanted = only.split(",")
    unknown = set(wanted) - {row.id for row in ROWS}
    if unknown:
        parser.error("no row is called %s (--list)" % ", ".join(sorted(unknown)))
    return [row for row in ROWS if row.id in wanted]


def look(server, rows, arguments):
    tap = Tap(len(rows), quiet=arguments.json)
    outcomes = run(rows, server, arguments.timeout, tap.say)
    found = counts(outcomes)
    tap.end(found)
    if arguments.json:
        json.dump(to_json(arguments.uri, outcomes, found), sys.stdout, indent=1)
        print()
    return 1 if found["MUST"] or (arguments.strict and found["SHOULD"]) else 0


def main():
    parser, arguments = parse_arguments()
    if arguments.list:
        list_rows(ROWS)
        return 0
    if arguments.table:
        try:
            print_table(ROWS, arguments.table)
        except (OSError, ValueError) as error:
            parser.error(str(error))
        return 0
    rows = chosen_rows(parser, arguments.only)
    try:
        server = Server(arguments.uri, min(2, arguments.timeout / 2))
    except BadUri as error:
        parser.error(str(error))
    signal.signal(signal.SIGALRM, raise_out_of_time)
    try:
        reason = why_not(server, arguments.timeout)
        if reason:
            print("Bail out! " + reason, file=sys.stderr)
            return 1
        return look(server, rows, arguments)
    except Gone as error:
        print("Bail out! nobody answers at %s" % error, file=sys.stderr)
        return 1
