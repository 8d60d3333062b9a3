# SPDX-License-Identifier: MIT
"""Rows: the selection of metadata contexts, and what becomes of it."""
import struct

from .check import *  # noqa: F403
from .contexts import (NOBODYS, TWICE, contexts_of, haggling, names, needs_allocation,
                       needs_structured)
from .rows import NotApplicable, must, should
from .server import ALLOCATION, NO_SUCH_NAME


def selected(client, name, *queries):
    """The replies to SET_META_CONTEXT, which succeeds: pairs of id and name."""
    return contexts_of(client.ask(OPT_SET_META, meta_data(name, *queries)))


@must("NBD_OPT_SET_META_CONTEXT")
def contexts_selected(server):
    """What is selected by name gets a META_CONTEXT reply for each, and an ACK."""
    found = selected(haggling(server), server.name, *server.contexts)
    equal(sorted(server.contexts), names(found), "contexts")


@must("NBD_OPT_SET_META_CONTEXT")
def contexts_selected_ids(server):
    """Each selected context has an id of its own."""
    found = selected(haggling(server), server.name, *server.contexts)
    if len(found) < 2:
        raise NotApplicable("the server has one context")
    equal(len(found), len({number for number, _ in found}), "different ids")


@must("NBD_OPT_SET_META_CONTEXT", TWICE)
def contexts_selected_once(server):
    """A context that is named twice is selected once."""
    client = haggling(server)
    equal([server.contexts[0]], names(selected(client, server.name, *[server.contexts[0]] * 3)),
          "contexts")


def status_fails(server, client):
    server.enter(client)
    fails_with(client.do(STATUS, 0, server.unit), EINVAL)


@must("NBD_OPT_SET_META_CONTEXT")
def contexts_none_selected(server):
    """Without queries nothing is selected."""
    client = haggling(server)
    equal([], selected(client, server.name), "contexts")
    status_fails(server, client)


@must("The base: metadata namespace")
def contexts_base_selects_nothing(server):
    """`base:` selects nothing, and is no error."""
    client = haggling(server)
    equal([], selected(client, server.name, "base:"), "contexts")


@should("Metadata querying")
def contexts_wildcards_select_nothing(server):
    """An empty leaf selects nothing, in any namespace."""
    spaces = sorted({name.partition(":")[0] + ":" for name in server.contexts})
    equal([], selected(haggling(server), server.name, *spaces), "contexts")


@must("The base: metadata namespace")
def contexts_unknown_not_selected(server):
    """A name that is not in `base:`, or of an unknown namespace, selects nothing: ACK."""
    client = haggling(server)
    equal([], selected(client, server.name, "base:no-such-context", NOBODYS), "contexts")


@must("NBD_OPT_SET_META_CONTEXT")
def contexts_replaced(server):
    """A second selection replaces the first."""
    client = haggling(server)
    selected(client, server.name, *server.contexts)
    selected(client, server.name)
    status_fails(server, client)
    client = haggling(server)
    selected(client, server.name, *server.contexts[1:])
    number = selected(client, server.name, server.contexts[0])[0][0]
    server.enter(client)
    reply = client.do(STATUS, 0, server.unit)
    succeeds(reply, "BLOCK_STATUS")
    equal([number], [struct.unpack(">I", payload[:4])[0] for kind, payload in reply.chunks
                     if kind != CHUNK_NONE], "ids of the chunks")


@must("NBD_OPT_SET_META_CONTEXT")
def contexts_lost_by_failure(server):
    """A selection that fails leaves none of the one before."""
    failing = [b"", struct.pack(">II", 99, 0)]
    if not server.takes_any_name:
        failing.append(meta_data(NO_SUCH_NAME, *server.contexts))
    for data in failing:
        client = haggling(server)
        selected(client, server.name, *server.contexts)
        assert client.result(OPT_SET_META, data) >> 31, "no error"
        status_fails(server, client)


@should("NBD_OPT_SET_META_CONTEXT")
def contexts_set_early(server):
    """SET_META_CONTEXT before structured replies: ERR_INVALID or ERR_EXT_HEADER_REQD."""
    server.needs_contexts()
    client = server.shake()
    seen = option_fails(client, OPT_SET_META, meta_data(server.name, *server.contexts),
                        ERR_INVALID, ERR_EXT_HEADER_REQD)
    in_step(client)
    return seen


@must("NBD_OPT_SET_META_CONTEXT")
def contexts_base_selected_compact(server):
    """Selecting in `base:` does not fail with ERR_EXT_HEADER_REQD."""
    needs_allocation(server)
    needs_structured(server)
    client = server.negotiate(structured=True)
    equal([ALLOCATION], names(selected(client, server.name, ALLOCATION)), "contexts")


@should("NBD_CMD_BLOCK_STATUS")
def contexts_of_another_export(server):
    """Contexts that were selected for another export are void: EINVAL."""
    others = [name for name in server.exports if name != server.name.encode()]
    if not others:
        raise NotApplicable("the server lists no other export")
    client = haggling(server)
    client.ask(OPT_SET_META, meta_data(others[0], *server.contexts))
    server.enter(client)
    return fails_with(client.do(STATUS, 0, server.unit), EINVAL)


@should("NBD_CMD_BLOCK_STATUS")
def contexts_needed_for_status(server):
    """BLOCK_STATUS without a selected context gets EINVAL, whatever the replies."""
    for client in server.kinds():
        seen = fails_with(client.do(STATUS, 0, server.unit), EINVAL)
        still_serves(server, client)
    return seen
