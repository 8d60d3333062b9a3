# SPDX-License-Identifier: MIT
"""Results of several servers side by side, in Markdown."""
import json

NOT_RUN = {"result": "not run", "lacks": False, "why": None}


class Notes:
    """Footnotes, each told once."""

    def __init__(self):
        self.texts = []

    def mark(self, text):
        if text not in self.texts:
            self.texts.append(text)
        return " [%d](#notes)" % (self.texts.index(text) + 1)


def load(argument):
    """NAME=FILE[,FILE...]: the name, and the results by row."""
    name, equals, files = argument.partition("=")
    if not equals or not files:
        raise ValueError("%s: not NAME=FILE" % argument)
    found = {}
    for path in files.split(","):
        with open(path, encoding="utf-8") as file:
            try:
                rows = {row["id"]: row for row in json.load(file)["rows"]}
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError("%s: not what --json prints: %s" % (path, error)) from error
        for ident, row in rows.items():
            if found.get(ident, {"result": "n/a"})["result"] == "n/a":
                found[ident] = row
    return name, found


def cell(notes, outcome):
    if outcome["result"] == "ok":
        return "ok" + (": " + outcome["why"] if outcome["why"] else "")
    if outcome["result"] == "n/a":
        return ("lacks it" if outcome["lacks"] else "n/a") + notes.mark(outcome["why"])
    if outcome["result"] == "not ok":
        return "**not ok**" + notes.mark(outcome["why"])
    return "not run"


def kind_of(outcome):
    """What the summary counts it as."""
    if outcome["result"] == "not ok":
        return outcome["level"]
    return "lacks" if outcome["lacks"] else outcome["result"]


def print_summary(servers):
    print("| | ok | MUST broken | SHOULD broken | MAY, otherwise | lacks it | n/a |")
    print("|---|" + "---|" * 6)
    for name, results in servers:
        kinds = [kind_of(outcome) for outcome in results.values()]
        print("| %s | %s |" % (name, " | ".join(
            str(kinds.count(kind)) for kind in ("ok", "MUST", "SHOULD", "MAY", "lacks", "n/a"))))


def print_table(rows, arguments):
    servers = [load(argument) for argument in arguments]
    print_summary(servers)
    notes, group = Notes(), None
    for row in rows:
        if row.group != group:
            group = row.group
            print("\n## %s%s\n\n| row | | demand | where | %s |\n|%s"
                  % (group[0].upper(), group[1:], " | ".join(name for name, _ in servers),
                     "---|" * (4 + len(servers))))
        reading = notes.mark(row.reading) if row.reading else ""
        cells = [cell(notes, results.get(row.id, NOT_RUN)) for _, results in servers]
        print("| `%s` | %s | %s%s | %s | %s |" % (
            row.id, row.level, escape(row.text), reading, escape(row.section),
            " | ".join(map(escape, cells))))
    print("\n## Notes\n")
    for number, text in enumerate(notes.texts, 1):
        print("%d. %s" % (number, escape(text)))


def escape(text):
    return text.replace("|", "\\|").replace("\n", " ")
