# SPDX-License-Identifier: MIT
"""What a row is: one demand of the protocol's text, and a function that checks it.

Rows stand in groups: a file each, whose docstring is "Rows: " and what they are about.
A check takes the server (server.py). It returns, and says in a word what was seen if
the text leaves a choice; or an assertion of it fails; or it raises NotApplicable. Its
name is the row's id, its docstring the demand in our words.
"""
from collections import namedtuple

Row = namedtuple("Row", "id level group section text reading check")
ROWS = []


class NotApplicable(Exception):
    """There is nothing to check: the reason is for people."""


class Lacking(NotApplicable):
    """... since the server does not offer what the demand is about."""


def _demand(level):
    def at(section, reading=None):
        """@reading: why another reader of the text might judge otherwise."""
        def add(check):
            name = check.__name__.replace("_", "-")
            text = " ".join(check.__doc__.split())
            group = check.__globals__["__doc__"].partition(": ")[2].strip(".\n")
            assert all(row.id != name for row in ROWS), name
            ROWS.append(Row(name, level, group, section, text, reading, check))
            return check
        return add
    return at


must, should, may = (_demand(level) for level in ("MUST", "SHOULD", "MAY"))
