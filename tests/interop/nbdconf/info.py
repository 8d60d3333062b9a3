# SPDX-License-Identifier: MIT
"""Rows: INFO and GO, and the sizes that they tell."""
import struct

from .check import *  # noqa: F403
from .rows import Lacking, NotApplicable, must, should
from .server import NO_SUCH_NAME, infos_of, option_error

BOTH = OPT_INFO, OPT_GO


def asked(server, option, *wanted, name=None):
    return server.shake().ask(option, info_data(server.name if name is None else name, *wanted))


# ---- success -------------------------------------------------------------------------


@must("Baseline")
def info_implemented(server):
    """INFO is implemented: it gets an ACK, and INFO_EXPORT before it."""
    assert INFO_EXPORT in infos_of(asked(server, OPT_INFO)), "no INFO_EXPORT"


@must("Baseline")
def go_implemented(server):
    """GO is implemented: it gets an ACK, and INFO_EXPORT before it."""
    assert INFO_EXPORT in infos_of(asked(server, OPT_GO)), "no INFO_EXPORT"


@must("NBD_OPT_INFO and NBD_OPT_GO")
def info_export_unasked(server):
    """INFO_EXPORT is told whether it was asked for or not."""
    for option in BOTH:
        for wanted in (), (INFO_EXPORT,), (INFO_NAME,):
            assert INFO_EXPORT in infos_of(asked(server, option, *wanted)), \
                "option %d, asked for %r" % (option, wanted)


@must("NBD_INFO_EXPORT")
def info_export_length(server):
    """INFO_EXPORT has 12 bytes: type, size, flags."""
    for option in BOTH:
        equal(10, len(infos_of(asked(server, option))[INFO_EXPORT]), "bytes after the type")


@must("NBD_OPT_INFO and NBD_OPT_GO")
def info_only_info_replies(server):
    """Only INFO replies come before the ACK."""
    for option in BOTH:
        infos_of(asked(server, option, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE))


@should("NBD_REP_INFO")
def info_once(server):
    """Each type of information comes once."""
    for option in BOTH:
        replies = asked(server, option, INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE)
        kinds = [data[:2] for _, data in replies[:-1]]
        equal(len(set(kinds)), len(kinds), "pieces of information")


@must("NBD_OPT_INFO and NBD_OPT_GO")
def info_goes_on(server):
    """After INFO more options may come."""
    client = server.shake()
    client.infos(OPT_INFO, server.name)
    in_step(client)
    server.enter(client)
    still_serves(server, client)


@must("NBD_OPT_INFO and NBD_OPT_GO")
def go_enters(server):
    """After GO requests are served."""
    still_serves(server, server.serve())


@must("NBD_OPT_INFO and NBD_OPT_GO")
def go_no_zeroes(server):
    """No zeroes follow the ACK of GO, whatever the client's flags."""
    for flags in 1, 3:
        client = server.shake(flags)
        infos_of(client.ask(OPT_GO, info_data(server.name, INFO_BLOCK_SIZE)))
        quiet(server, client)
        still_serves(server, client)


@must("NBD_OPT_INFO and NBD_OPT_GO")
def info_go_same(server):
    """INFO, and GO right after it with the same data, tell the same."""
    talks = [(kind, wanted) for kind in server.kind_names()
             for wanted in ((), (INFO_NAME, INFO_DESCRIPTION, INFO_BLOCK_SIZE))]
    for kind, wanted in talks:
        client = server.negotiate(**kind)
        data = info_data(server.name, *wanted)
        first, second = (infos_of(client.ask(option, data)) for option in BOTH)
        assert first == second, "GO tells other things of type %s" % ", ".join(
            str(kind) for kind in sorted({*first, *second}) if first.get(kind) != second.get(kind))


@must("NBD_OPT_INFO and NBD_OPT_GO")
def info_unknown_requests(server):
    """Requests for information of unknown types are ignored."""
    for option in BOTH:
        told = infos_of(asked(server, option, 4, 99, 0x7fff, 0xffff))
        assert max(told) <= INFO_BLOCK_SIZE, "information of type %d" % max(told)


@must("NBD_OPT_INFO and NBD_OPT_GO")
def info_many_requests(server):
    """Any number of requests for information may be made: 100 of them at least."""
    for option in BOTH:
        infos_of(asked(server, option, *range(100)))


# ---- failure -------------------------------------------------------------------------


def unknown_export(server, option):
    server.needs_other_names()
    return option_fails(server.shake(), option, info_data(NO_SUCH_NAME), ERR_UNKNOWN)


@must("NBD_OPT_INFO and NBD_OPT_GO")
def info_unknown_export(server):
    """INFO of an export that does not exist gets ERR_UNKNOWN."""
    return unknown_export(server, OPT_INFO)


@must("NBD_OPT_INFO and NBD_OPT_GO")
def go_unknown_export(server):
    """GO to an export that does not exist gets ERR_UNKNOWN."""
    return unknown_export(server, OPT_GO)


@should("NBD_OPT_INFO and NBD_OPT_GO")
def info_unknown_tells_nothing(server):
    """No information comes before ERR_UNKNOWN."""
    server.needs_other_names()
    for option in BOTH:
        equal(1, len(asked(server, option, INFO_NAME, name=NO_SUCH_NAME)), "replies")


@must("NBD_OPT_INFO and NBD_OPT_GO")
def go_again(server):
    """After a GO that failed the right export can be entered."""
    server.needs_other_names()
    client = server.shake()
    client.ask(OPT_GO, info_data(NO_SUCH_NAME))
    server.enter(client)
    still_serves(server, client)


@must("Conventions")
def info_longest_name(server):
    """A name of 4096 bytes is a name: an answer, and the next option is understood."""
    client = server.shake()
    for option in (OPT_INFO,) if server.takes_any_name else BOTH:
        client.ask(option, info_data(b"n" * 4096))
    in_step(client)


def malformed(server, option, data):
    """Data that breaks the text's rules: an error, then in step, or the end of the connection."""
    client = server.shake()

    def answer():
        kind = client.result(option, data)
        assert kind in (ERR_INVALID, ERR_TOO_BIG, ERR_UNKNOWN), option_error(kind)
        in_step(client)
        return option_error(kind)
    seen = closed_or(answer)
    client.close()
    return seen


def malformed_by_both(server, data):
    return "; ".join(sorted({malformed(server, option, data) for option in BOTH}))


@must("Termination of the session during option haggling")
def info_name_too_long(server):
    """A name of more than 4096 bytes: an error, or the end of the connection."""
    if server.takes_any_name:
        raise NotApplicable("any name will do")
    return malformed_by_both(server, info_data(b"n" * 4097))


@must("Termination of the session during option haggling")
def info_name_overruns(server):
    """A name that is longer than its option: an error, or the end of the connection."""
    return malformed_by_both(server, struct.pack(">I", 5) + b"nam\0\0")


@must("Termination of the session during option haggling")
def info_name_overruns_far(server):
    """A name of 4 GiB in an option of 6 bytes: an error, or the end of the connection."""
    return malformed_by_both(server, struct.pack(">IH", 0xffffffff, 0))


@must("Termination of the session during option haggling")
def info_count_overruns(server):
    """More requests announced than the option has: an error, or the end of the connection."""
    return malformed_by_both(server, info_data(server.name)[:-2] + b"\0\2\0\0")


@must("Termination of the session during option haggling")
def info_cut_anywhere(server):
    """INFO and GO cut at any byte: an error, or the end of the connection."""
    whole = info_data(server.name, INFO_NAME, INFO_BLOCK_SIZE)
    return "; ".join(sorted({malformed_by_both(server, whole[:size])
                             for size in range(len(whole))}))


@should("NBD_REP_ERR_INVALID", "The text has a layout that ends with the last request; it does "
        "not say what to do about more.")
def info_trailing_data(server):
    """Data behind the last request: an error, or the end of the connection."""
    return malformed_by_both(server, info_data(server.name) + b"\0")


# ---- names ---------------------------------------------------------------------------


def told(server, kind, what):
    if kind not in server.infos:
        raise Lacking("no %s" % what)
    return server.infos[kind]


@must("NBD_INFO_NAME")
def info_name_string(server):
    """INFO_NAME, if told, is a string."""
    is_string(told(server, INFO_NAME, "INFO_NAME"))


@must("NBD_INFO_NAME")
def info_name_listed(server):
    """INFO_NAME, if told, is the name that LIST has."""
    name = told(server, INFO_NAME, "INFO_NAME")
    if not server.exports:
        raise NotApplicable("the server lists no exports")
    assert name in server.exports, "%r is not listed" % name


@must("NBD_INFO_DESCRIPTION")
def info_description_string(server):
    """INFO_DESCRIPTION, if told, is a string."""
    is_string(told(server, INFO_DESCRIPTION, "INFO_DESCRIPTION"))


@must("NBD_INFO_DESCRIPTION")
def info_description_listed(server):
    """INFO_DESCRIPTION, if told, is what LIST says as well."""
    text = told(server, INFO_DESCRIPTION, "INFO_DESCRIPTION")
    name = server.infos.get(INFO_NAME, server.name.encode())
    if name not in server.exports:
        raise NotApplicable("the server does not list the export")
    equal(server.exports[name], text, "the description")


# ---- sizes ---------------------------------------------------------------------------


def sizes(server):
    if not server.sizes:
        raise Lacking("no INFO_BLOCK_SIZE")
    return server.sizes


def is_power_of_2(number):
    return number > 0 and number & (number - 1) == 0


@must("NBD_INFO_BLOCK_SIZE")
def sizes_length(server):
    """INFO_BLOCK_SIZE, if told, has 14 bytes: type and three sizes."""
    equal(12, len(told(server, INFO_BLOCK_SIZE, "INFO_BLOCK_SIZE")), "bytes after the type")


@must("Size constraints")
def sizes_min_power_of_2(server):
    """The minimum block size is a power of 2."""
    assert is_power_of_2(sizes(server)[0]), sizes(server)[0]


@must("Size constraints")
def sizes_min_limit(server):
    """The minimum block size is 65536 at most."""
    assert sizes(server)[0] <= 1 << 16, sizes(server)[0]


@must("Size constraints")
def sizes_preferred_power_of_2(server):
    """The preferred block size is a power of 2."""
    assert is_power_of_2(sizes(server)[1]), sizes(server)[1]


@must("Size constraints")
def sizes_preferred_at_least(server):
    """The preferred block size is at least 512 and the minimum."""
    assert sizes(server)[1] >= max(sizes(server)[0], 512), sizes(server)[1]


@must("Size constraints")
def sizes_payload_at_least(server):
    """The maximum payload is at least the preferred block size."""
    assert sizes(server)[2] >= sizes(server)[1], sizes(server)[2]


@should("Size constraints")
def sizes_payload_1_mib(server):
    """The maximum payload is at least 1 MiB, if the export is."""
    assert sizes(server)[2] >= min(server.size, MIB), sizes(server)[2]


@should("Size constraints")
def sizes_divide_export(server):
    """The export's size is a multiple of the minimum block size."""
    equal(0, server.size % sizes(server)[0], "the rest")


@must("Size constraints")
def sizes_told_when_enforced(server):
    """A minimum block size of more than 1 is told when asked for."""
    client = server.serve()
    reply = client.do(READ, 1, 1)
    if reply.error:
        assert server.min_block > 1, "READ of one byte: %s" % error_name(reply.error)
    return "minimum %d" % server.min_block


@must("NBD_OPT_INFO and NBD_OPT_GO")
def sizes_never_insisted_on(server):
    """Who asks for INFO_BLOCK_SIZE does not get ERR_BLOCK_SIZE_REQD."""
    for option in BOTH:
        kind = asked(server, option, INFO_BLOCK_SIZE)[-1][0]
        assert kind != ERR_BLOCK_SIZE_REQD, "option %d" % option


@should("Maximum interoperability")
def sizes_not_required(server):
    """GO without INFO_BLOCK_SIZE is served."""
    client = server.shake()
    infos_of(client.ask(OPT_GO, info_data(server.name)))
    still_serves(server, client)


@should("NBD_OPT_INFO and NBD_OPT_GO")
def sizes_told_when_required(server):
    """Before ERR_BLOCK_SIZE_REQD comes INFO_BLOCK_SIZE, which saves asking again."""
    replies = asked(server, OPT_GO)
    if replies[-1][0] != ERR_BLOCK_SIZE_REQD:
        raise NotApplicable("GO does not need INFO_BLOCK_SIZE")
    assert any(data[:2] == struct.pack(">H", INFO_BLOCK_SIZE) for _, data in replies[:-1]), \
        "it does not"


@must("Size constraints")
def sizes_unknown_to_client(server):
    """A client that was let in without the sizes gets clean errors, and does no damage."""
    server.needs_writes()
    client = server.shake()
    try:
        client.go(server.name)
    except AssertionError as error:
        raise NotApplicable("such clients are refused") from error
    before = noise(64 * KIB)
    succeeds(client.do(WRITE, 0, len(before), payload=before), "WRITE")
    reply = client.do(WRITE, 1, 7, payload=b"written")
    after = before if reply.error else before[:1] + b"written" + before[8:]
    assert client.read(0, len(before)) == after, "other bytes have changed"
    still_serves(server, client)
    return error_name(reply.error)
