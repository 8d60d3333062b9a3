# SPDX-License-Identifier: MIT
"""Demands on a server, one line for each: what the programs beside this one share."""

ROWS = []


def row(text):
    """A demand: the function is its check."""
    def add(check):
        ROWS.append((text, check))
        return check
    return add


def equal(wanted, got, what="value"):
    assert wanted == got, "%s: wanted %r, got %r" % (what, wanted, got)


def run_all():
    """Prints "ok N - text" or "not ok N - text: why". Returns how many are not."""
    failed = 0
    for number, (text, check) in enumerate(ROWS, 1):
        try:
            check()
            print("ok %d - %s" % (number, text), flush=True)
        except Exception as error:  # pylint: disable=broad-except  a failed row is a line
            failed += 1
            print("not ok %d - %s: %s: %s" % (number, text, type(error).__name__, error),
                  flush=True)
    print("1..%d" % len(ROWS))
    return failed
