#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk export of an image that is being served: the disk as it was at one instant, whatever
# clients do meanwhile, and clients that hardly notice, whatever becomes of the export.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/export-live.sh"
need qemu-img qemu-io jq strace pgrep
need_libnbd
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
moment=$SRC_DIR/tests/tools/moment.py
make_key key

no_part() {
	[[ ! -e $1 && ! -e $1.part && ! -e $1.part.json ]] || fail "something is left of $1"
}

under_load() {
	timeout 100 "$moment" "$@" || fail "$*"
}

# ---- what it is ----

make_base base.vhd fixed 24
"$sealblk" create --base base.vhd --key-file key image.seal
start_daemon --socket "$socket" --key-file key image.seal
expect_exit 0 "$sealblk" export image.seal out.vhd
expect_output '^exported image.seal to out.vhd: fixed VHD, disk of 24 MiB'
expect_same base.vhd out.vhd
[[ ! -e out.vhd.part && ! -e out.vhd.part.json ]] || fail "something is left"
expect_equal 600 "$(stat -c %a out.vhd)" "mode of what was decrypted"
nbd_io "$socket" 'write -P 0x5a 1M 64k' 'write -z 3M 1M' 'write -P 0x11 20M 512'
for format in vhd vhd-dynamic raw; do
	expect_exit 0 "$sealblk" export --force --json --format $format image.seal "out.$format"
	jq -e '.event == "done" and .written_bytes > 0 and .verified_bytes == 0' output >/dev/null ||
		fail "$format"
	qemu-img compare -q -f "$([[ $format == raw ]] && echo raw || echo vpc)" -F raw \
		"out.$format" "$(nbd_uri "$socket")" || fail "$format differs"
done
expect_equal "$("$sealblk" vhd info --json base.vhd | jq .footer.uuid)" \
	"$("$sealblk" vhd info --json out.vhd-dynamic | jq .footer.uuid)" "unique id"
# Where the file system has no files without a name.
expect_exit 0 strace -f -qq -o /dev/null -P "$TEST_DIR" -e inject=openat:error=EOPNOTSUPP:when=1 \
	"$sealblk" export --force image.seal out.raw
[[ $(echo .sealblk-*) == '.sealblk-*' ]] || fail "a scratch file is left"
for itself in image.seal base.vhd; do
	expect_exit 1 "$sealblk" export --force image.seal $itself
	expect_output 'is the image itself, or its base'
done
expect_exit 1 "$sealblk" export image.seal out.raw
expect_output '^sealblk: destination out.raw: exists already'

# ---- one instant ----

control=$(control_socket image.seal)
under_load "$socket" --control "$control" --slow
slow_export=(strace -f -qq -o /dev/null -P "$TEST_DIR/out.raw.part"
	-e inject=pwrite64:delay_enter=40000 "$sealblk" export --force image.seal out.raw)
under_load "$socket" out.raw "${slow_export[@]}"

# ... and planes come and go meanwhile.
switch_on_and_off() {
	while [[ ! -e stop ]]; do
		"$sealblk" encryption off image.seal >/dev/null
		"$sealblk" encryption on image.seal >/dev/null
		sleep 0.05
	done
}
switch_on_and_off &
own_pid $!
switcher=$!
under_load "$socket" --control "$control" --slow
touch stop
wait "$switcher" || fail "it cannot be switched"
disown_pid "$switcher"
"$sealblk" encrypt start image.seal
"$sealblk" rekey start --key-file key image.seal
under_load "$socket" out.raw "${slow_export[@]}"
expect_exit 0 "$sealblk" encrypt image.seal
expect_exit 0 "$sealblk" rekey --key-file key image.seal
under_load "$socket" --control "$control"
stop_daemon
expect_exit 0 "$sealblk" check image.seal
start_daemon --io-engine libaio --socket "$socket" --key-file key image.seal
under_load "$socket" --control "$control" --slow
stop_daemon
start_daemon --socket "$socket" --key-file key image.seal

# ---- who is in the way ----

scratch_left() {
	find "/proc/$daemon_pid/fd" -lname '*(deleted)' -printf '%l\n' | grep .
}
begin_export x.vhd 3
expect_exit 1 "$sealblk" export image.seal y.vhd
expect_output '^sealblk: image image.seal: is being exported already: one export at a time$'
no_part y.vhd
# The exporter dies: what it wanted kept is forgotten, and clients go on.
nbd_io "$socket" 'write -P 0x77 0 24M'
scratch_left >/dev/null || fail "no scratch file is open"
kill -KILL "$exporter"
end_export
nbd_io "$socket" 'read -P 0x77 0 24M' 'write -P 0x78 0 1M'
wait_for 5 grep -q 'its export has ended' "$daemon_log" || fail "it has not ended"
wait_for 5 eval '! scratch_left' || fail "a scratch file is open still"
# What it left is removed.
expect_exit 0 "$sealblk" export image.seal x.vhd
qemu-img compare -q -f vpc -F raw x.vhd "$(nbd_uri "$socket")"
rm x.vhd

# The keys are revoked.
begin_export x.vhd 3
expect_exit 0 "$sealblk" key revoke image.seal
end_export
expect_equal 4 $status "exit status when the keys were revoked"
expect_equal 'sealblk: image image.seal: its keys were revoked while it was being exported' \
	"$(cat said)"
no_part x.vhd
expect_exit 4 "$sealblk" export image.seal x.vhd
expect_output '^sealblk: image image.seal: its keys are revoked'
no_part x.vhd
expect_exit 0 "$sealblk" key restore --key-file key image.seal

# The daemon dies.
begin_export x.vhd 3
kill_daemon
end_export
expect_equal 1 $status "exit status when the daemon died"
expect_equal 1 "$(wc -l <said)" "lines when the daemon died"
grep -q '^sealblk: image image.seal: its daemon' said || fail "what?"
no_part x.vhd

# ... or stops: it does not wait for an export.
start_daemon --socket "$socket" --key-file key image.seal
begin_export x.vhd 3
SECONDS=0
stop_daemon
((SECONDS < 4)) || fail "it took $SECONDS s to stop"
end_export
expect_equal 1 $status "exit status when the daemon stopped"
no_part x.vhd

# ---- conversations that make no sense ----

start_daemon --socket "$socket" --key-file key image.seal
descriptors() {
	find "/proc/$daemon_pid/fd" -type l | wc -l
}
before=$(descriptors)
"$python" - "$control" <<'PY'
import json, os, socket, sys, tempfile

def begin(fds, byte=b"\0"):
    client = socket.socket(socket.AF_UNIX)
    client.connect(sys.argv[1])
    client.settimeout(20)
    lines = client.makefile("rb")
    client.sendall(b'{"verb":"export"}\n')
    assert json.loads(lines.readline()) == {"send": 1}
    if fds:
        socket.send_fds(client, [byte], fds)
    else:
        client.sendall(byte)
    return client, lines

def refused(lines):
    answer = json.loads(lines.readline())
    assert "error" in answer, answer
    try:
        assert not lines.readline()
    except ConnectionResetError:
        pass  # it has not read all of ours

scratch = tempfile.TemporaryFile(dir=".")
full = tempfile.TemporaryFile(dir=".")
full.write(b"x")
full.flush()
pipe = os.pipe()
for fds in ([], [pipe[0]], [full.fileno()], [os.open(".", os.O_RDONLY)],
            [os.open("key", os.O_RDONLY)], [scratch.fileno(), full.fileno()]):
    refused(begin(fds)[1])
for line in (b"{}", b"[]", b"x", b'{"extent":-65536}', b'{"extent":1}', b'{"extent":"0"}',
             b'{"extent":25165824}', b'{"read":0}', b'{"read":0,"length_bytes":512}',
             b'{"read":0,"length_bytes":0}', b'{"read":0,"length_bytes":2097152}',
             b'{"read":25100288,"length_bytes":131072}', b'{"read":512,"length_bytes":65536}',
             b'{"extent":18446744073709551616}', b"x" * 5000):
    client, lines = begin([scratch.fileno()])
    assert json.loads(lines.readline())["disk_bytes"] == 24 << 20
    client.sendall(line + b"\n")
    refused(lines)
client, lines = begin([scratch.fileno()])
lines.readline()
for _ in range(2):
    client.sendall(b'{"read":0,"length_bytes":65536}\n')
    answer = json.loads(lines.readline())
    lines.read(answer.get("length_bytes", 0))
assert "has been read before" in answer["error"], answer
PY
as_before() {
	(($(descriptors) == before))
}
wait_for 5 as_before || fail "$before descriptors before, now $(descriptors)"
nbd_io "$socket" 'write -P 0x41 0 24M' 'read -P 0x41 0 24M'
stop_daemon

# What was interrupted when nobody served it is of another disk: begun anew.
interrupted_export() {
	strace -f -qq -o /dev/null -P "$TEST_DIR/x.vhd.part" \
		-e inject=pwrite64:signal=INT:when=1 "$sealblk" export "$@" image.seal x.vhd
}
expect_exit 1 interrupted_export --key-file key
expect_output 'this file is kept'
start_daemon --socket "$socket" --key-file key image.seal
expect_exit 0 "$sealblk" export image.seal x.vhd
expect_output 'begun anew'
qemu-img compare -q -f vpc -F raw x.vhd "$(nbd_uri "$socket")"
rm x.vhd
expect_exit 1 interrupted_export
expect_output '^sealblk: export x.vhd: interrupted: nothing is kept'
no_part x.vhd
stop_daemon

# A trace would tell what goes to the scratch file; a daemon that only reads is read beside.
start_daemon --trace trace --socket "$socket" --key-file key image.seal
expect_exit 1 "$sealblk" export image.seal x.vhd
expect_output '^sealblk: image image.seal: its daemon was started with --trace$'
no_part x.vhd
stop_daemon
start_daemon --read-only --socket "$socket" --key-file key image.seal
expect_exit 0 "$sealblk" export --key-file key image.seal x.vhd
qemu-img compare -q -f vpc -F raw x.vhd "$(nbd_uri "$socket")"
stop_daemon
