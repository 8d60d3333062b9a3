# SPDX-License-Identifier: MIT
"""What is printed of rows and outcomes."""


class Tap:
    """A line for each row as it is done."""

    def __init__(self, rows, quiet):
        self.quiet = quiet
        self.print("TAP version 13\n1..%d" % rows)

    def print(self, text):
        if not self.quiet:
            print(text, flush=True)

    def say(self, number, outcome):
        row = outcome.row
        line = "%s %d - %s (%s) %s" % ("not ok" if outcome.result == "not ok" else "ok",
                                       number, row.id, row.level, row.text)
        if outcome.result == "n/a":
            line += " # SKIP " + outcome.why
        elif outcome.why:
            line += "  # %s" % outcome.why
        self.print(line)

    def end(self, found):
        self.print("# %(rows)d rows: %(ok)d ok, %(not ok)d not ok (%(MUST)d MUST, "
                   "%(SHOULD)d SHOULD), %(n/a)d n/a" % found)


def counts(outcomes):
    """How many rows had which result; MUST and SHOULD: how many of those are not ok."""
    found = {"rows": len(outcomes)}
    for result in "ok", "not ok", "n/a":
        found[result] = sum(outcome.result == result for outcome in outcomes)
    for level in "MUST", "SHOULD":
        found[level] = sum(outcome.result == "not ok" and outcome.row.level == level
                           for outcome in outcomes)
    return found


def to_json(uri, outcomes, found):
    return {"uri": uri, "counts": found,
            "rows": [{"id": outcome.row.id, "level": outcome.row.level,
                      "section": outcome.row.section, "text": outcome.row.text,
                      "result": outcome.result, "lacks": outcome.lacks, "why": outcome.why}
                     for outcome in outcomes]}


def list_rows(rows):
    group = None
    for row in rows:
        if row.group != group:
            group = row.group
            print("\n" + group)
        print("  %-36s %-6s  %s (%s)" % (row.id, row.level, row.text, row.section))
    print("\n%d rows: %s" % (len(rows), ", ".join(
        "%d %s" % (sum(row.level == level for row in rows), level)
        for level in ("MUST", "SHOULD", "MAY"))))
