# SPDX-License-Identifier: MIT
"""Rows: STRUCTURED_REPLY, and the lists of metadata contexts."""
import struct

from .check import *  # noqa: F403
from .rows import Lacking, NotApplicable, may, must, should
from .server import ALLOCATION, NO_SUCH_NAME

REGISTERED = "base", "nbd-server", "qemu"
NOBODYS = "x-nobody-has-this:at-all"
TWICE = ("Clients have little reason to name a context twice. The text does not forbid it, and "
         "wants a reply for each context, not for each query.")
LONGEST = "x-" + "n" * 4000 + ":q"

# ---- STRUCTURED_REPLY ----------------------------------------------------------------


@must("NBD_OPT_STRUCTURED_REPLY")
def structured_answered(server):
    """STRUCTURED_REPLY gets an ACK, or ERR_UNSUP from servers without it."""
    return option_fails(server.shake(), OPT_STRUCTURED, b"", REP_ACK, ERR_UNSUP)


@should("NBD_OPT_STRUCTURED_REPLY")
def structured_data_refused(server):
    """STRUCTURED_REPLY with data gets ERR_INVALID."""
    needs_structured(server)
    return option_fails(server.shake(), OPT_STRUCTURED, b"x", ERR_INVALID)


@must("Simple reply message")
def structured_data_no_effect(server):
    """A STRUCTURED_REPLY that was refused changes nothing: replies are simple, the next option
    is understood."""
    client = server.shake()
    if client.result(OPT_STRUCTURED, b"x") == REP_ACK:
        raise NotApplicable("it is not refused")
    in_step(client)
    server.enter(client)
    assert client.do(READ, 0, server.unit).simple, "a structured reply"


@may("Fixed newstyle negotiation")
def structured_twice(server):
    """STRUCTURED_REPLY for the second time gets an ACK, or ERR_INVALID; it still holds."""
    client = server.negotiate(structured=True)
    seen = option_fails(client, OPT_STRUCTURED, b"", REP_ACK, ERR_INVALID)
    server.enter(client)
    assert not client.do(READ, 0, server.unit).simple, "a simple reply"
    return seen


def needs_structured(server):
    if not server.has_structured:
        raise Lacking("no structured replies")


# ---- LIST_META_CONTEXT ---------------------------------------------------------------


def haggling(server):
    server.needs_contexts()
    return server.negotiate(structured=server.has_structured, extended=not server.has_structured)


def listed(client, name, *queries):
    """The replies to LIST_META_CONTEXT, which succeeds: pairs of id and name."""
    return contexts_of(client.ask(OPT_LIST_META, meta_data(name, *queries)))


def contexts_of(replies):
    equal(REP_ACK, replies[-1][0], "the last reply")
    found = []
    for kind, data in replies[:-1]:
        equal(REP_META, kind, "reply type")
        found.append((struct.unpack(">I", data[:4])[0], is_string(data[4:])))
    return found


def names(contexts):
    return sorted(name for _, name in contexts)


def own(server, namespace="base"):
    return sorted(name for name in server.contexts if name.split(":")[0] == namespace)


def needs_allocation(server):
    server.needs_contexts()
    if ALLOCATION not in server.contexts:
        raise Lacking("no " + ALLOCATION)


@must("NBD_OPT_LIST_META_CONTEXT")
def contexts_listed(server):
    """Without queries all contexts are listed: META_CONTEXT replies, then ACK."""
    listed(haggling(server), server.name)
    return ", ".join(server.contexts)


@must("NBD_OPT_LIST_META_CONTEXT")
def contexts_listed_complete(server):
    """Without queries nothing is left out that can be selected."""
    client = haggling(server)
    known = set(names(listed(client, server.name)))
    more = set(names(listed(client, server.name, "base:", "qemu:", "nbd-server:")))
    assert more <= known, "not listed: %s" % ", ".join(more - known)


@must("NBD_OPT_LIST_META_CONTEXT", TWICE)
def contexts_listed_once(server):
    """Each context is listed once, however often it is asked for."""
    client = haggling(server)
    for queries in (), (server.contexts[0],) * 3:
        found = names(listed(client, server.name, *queries))
        equal(sorted(set(found)), found, "contexts")


@must("NBD_OPT_LIST_META_CONTEXT")
def contexts_listed_by_name(server):
    """A query that is a context's name lists that one."""
    client = haggling(server)
    for name in server.contexts:
        equal([name], names(listed(client, server.name, name)), "contexts")


@must("The base: metadata namespace")
def contexts_base_wildcard(server):
    """`base:` lists all contexts of that namespace, and no others."""
    client = haggling(server)
    equal(own(server), names(listed(client, server.name, "base:")), "contexts")


@must("NBD_OPT_LIST_META_CONTEXT")
def contexts_unknown_namespace(server):
    """Queries of a namespace that the server does not know are ignored: ACK."""
    client = haggling(server)
    equal([], listed(client, server.name, NOBODYS, "x-nobody:"), "contexts")
    equal([server.contexts[0]], names(listed(client, server.name, NOBODYS, server.contexts[0])),
          "contexts")


@must("The base: metadata namespace")
def contexts_unknown_leaf(server):
    """A name that is not in `base:` is ignored, and no error."""
    equal([], listed(haggling(server), server.name, "base:no-such-context"), "contexts")


@must("Conventions")
def contexts_long_query(server):
    """A query of 4000 bytes is a string like others."""
    client = haggling(server)
    equal([], listed(client, server.name, LONGEST), "contexts")
    in_step(client)


@may("NBD_OPT_LIST_META_CONTEXT")
def contexts_query_no_colon(server):
    """A query without a colon is ignored, or gets ERR_INVALID."""
    client = haggling(server)
    seen = option_fails(client, OPT_LIST_META, meta_data(server.name, "nocolon"),
                        REP_ACK, ERR_INVALID)
    in_step(client)
    return seen


@must("NBD_OPT_LIST_META_CONTEXT")
def contexts_base_needs_no_extended(server):
    """ERR_EXT_HEADER_REQD is not the end of a list of `base:`."""
    client = haggling(server)
    kind = client.result(OPT_LIST_META, meta_data(server.name, "base:"))
    assert kind != ERR_EXT_HEADER_REQD, "it is"


@should("NBD_OPT_LIST_META_CONTEXT")
def contexts_listed_not_too_big(server):
    """A list without queries does not fail with ERR_TOO_BIG."""
    kind = haggling(server).result(OPT_LIST_META, meta_data(server.name))
    assert kind != ERR_TOO_BIG, "it does"


@should("NBD_OPT_LIST_META_CONTEXT")
def contexts_listed_ids(server):
    """The id in a list is 0."""
    for number, name in listed(haggling(server), server.name):
        equal(0, number, "the id of " + name)


@must("Metadata querying")
def contexts_names(server):
    """A context's name is namespace, colon and leaf; the namespace has printable characters
    only, and is not empty."""
    server.needs_contexts()
    for name in server.contexts:
        space, colon, leaf = name.partition(":")
        assert space and colon and leaf and space.isprintable() and " " not in space, repr(name)


@must("Metadata querying")
def contexts_namespaces(server):
    """Namespaces are `base`, `nbd-server`, `x-*`, or registered."""
    server.needs_contexts()
    for name in server.contexts:
        space = name.partition(":")[0]
        assert space in REGISTERED or space.startswith("x-"), repr(name)


@should("NBD_CMD_BLOCK_STATUS")
def contexts_listed_not_selected(server):
    """Listing selects nothing: BLOCK_STATUS gets EINVAL."""
    client = haggling(server)
    listed(client, server.name)
    server.enter(client)
    return fails_with(client.do(STATUS, 0, server.unit), EINVAL)


@should("NBD_REP_ERR_UNKNOWN")
def contexts_unknown_export(server):
    """Contexts of an export that does not exist: ERR_UNKNOWN."""
    server.needs_other_names()
    client = haggling(server)
    for option in OPT_LIST_META, OPT_SET_META:
        seen = option_fails(client, option, meta_data(NO_SUCH_NAME, "base:"), ERR_UNKNOWN)
    in_step(client)
    return seen


@may("NBD_OPT_LIST_META_CONTEXT")
def contexts_list_early(server):
    """LIST_META_CONTEXT before structured replies: ERR_INVALID, ERR_EXT_HEADER_REQD or a list."""
    server.needs_contexts()
    client = server.shake()
    seen = option_fails(client, OPT_LIST_META, meta_data(server.name), REP_ACK, ERR_INVALID,
                        ERR_EXT_HEADER_REQD)
    in_step(client)
    return seen


# ---- malformed -----------------------------------------------------------------------


def refused(server, option, data):
    client = haggling(server)
    option_fails(client, option, data, ERR_INVALID)
    in_step(client)


@must("NBD_OPT_LIST_META_CONTEXT")
def contexts_query_overruns(server):
    """A query that is longer than its option: ERR_INVALID."""
    for size in 9, 0x7fffffff, 0xffffffff:
        refused(server, OPT_LIST_META, meta_data(server.name)[:-4]
                + struct.pack(">II", 1, size) + b"base:")


@must("NBD_OPT_LIST_META_CONTEXT")
def contexts_name_overruns(server):
    """An export's name that is longer than its option: ERR_INVALID."""
    for size in 100, 0x7fffffff, 0xffffffff:
        refused(server, OPT_LIST_META, struct.pack(">II", size, 0))


@must("NBD_OPT_LIST_META_CONTEXT")
def contexts_count_overruns(server):
    """More queries announced than there are: ERR_INVALID."""
    for count in 2, 0xffffffff:
        refused(server, OPT_LIST_META, meta_data(server.name)[:-4] + struct.pack(">I", count)
                + struct.pack(">I", 5) + b"base:")


@must("NBD_OPT_LIST_META_CONTEXT", "The text calls a query that overruns the option syntactically "
      "invalid; that data behind the last query is so as well is our reading.")
def contexts_trailing_data(server):
    """Data behind the last query: ERR_INVALID."""
    refused(server, OPT_LIST_META, meta_data(server.name, "base:") + b"\0")


@must("NBD_OPT_LIST_META_CONTEXT")
def contexts_list_cut_anywhere(server):
    """LIST_META_CONTEXT cut at any byte: ERR_INVALID."""
    cut_anywhere(server, OPT_LIST_META)


@should("NBD_REP_ERR_INVALID")
def contexts_set_cut_anywhere(server):
    """SET_META_CONTEXT cut at any byte: ERR_INVALID."""
    cut_anywhere(server, OPT_SET_META)


def cut_anywhere(server, option):
    whole = meta_data(server.name, *server.contexts)
    for size in range(len(whole)):
        try:
            refused(server, option, whole[:size])
        except AssertionError as error:
            raise AssertionError("cut at %d of %d: %s" % (size, len(whole), error)) from error
        server.hang_up()
