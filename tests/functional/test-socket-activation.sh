#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Sockets handed over by systemd (sd_listen_fds(3)), and what the daemon tells it
# (sd_notify(3)).
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io nbdinfo
cd "$TEST_DIR"
make_key key
"$sealblk" create --size 4M --key-file key image.seal
activate=$SRC_DIR/tests/tools/activate.py

# start_activated SOCKETS [ARGUMENT...]: see activate.py for SOCKETS.
start_activated() {
	local sockets=$1
	shift
	daemon_log=$(mktemp "$TEST_DIR/daemon.XXXXXX")
	"$python" "$activate" "$sockets" "$TEST_DIR/notified" -- "$sealblkd" "$@" \
		>"$daemon_log" 2>&1 </dev/null &
	daemon_pid=$!
	own_pid "$daemon_pid"
	wait_for 30 daemon_is_ready_or_gone || fail "the daemon is not ready after 30 s"
	grep -q ready "$daemon_log" || fail "the daemon did not start"
}

# refuse STATUS PATTERN COMMAND...
refuse() {
	local status=$1 pattern=$2
	shift 2
	expect_exit "$status" timeout 20 "$@"
	expect_output "$pattern"
}

# ---- a unix and a TCP socket, and one of our own beside them -------------------------------
start_activated disk=unix:a,net=tcp:0,nb=nonblocking:b --socket "$TEST_DIR/own" \
	--key-file key image.seal
port=$(sed -n 's/^net is 127.0.0.1://p' "$daemon_log")
grep -q 'listening on inherited socket disk$' "$daemon_log" || fail "the socket's name is not told"
expect_equal 4 "$(grep -c 'listening on' "$daemon_log")" "lines about sockets"
expect_equal '0 blocking, 4 not' "$(listener_modes)" "listeners"
nbd_io "$TEST_DIR/a" 'write -P 7 0 64k' flush
for uri in "$(nbd_uri "$TEST_DIR/own")" "$(nbd_uri "$TEST_DIR/b")" "nbd://127.0.0.1:$port/"; do
	qemu-io -f raw -c 'read -P 7 0 64k' "$uri" >/dev/null || fail "not the same disk at $uri"
done
notified() { grep -q "$1" notified; }
wait_for 5 notified '^READY=1$' || fail "READY=1 was not told"
notified '^STATUS=Serving 1 export' || fail "STATUS was not told"
stop_daemon
wait_for 5 notified '^STOPPING=1$' || fail "STOPPING=1 was not told"
[[ -S a ]] || fail "the daemon removed a socket that was not its own"
[[ ! -e own ]] || fail "the daemon left its own socket"
echo '- inherited'

# ---- who connects before the daemon is there is served once it is ---------------------------
"$python" "$activate" disk=unix:c --first "$(nbd_uri "$TEST_DIR/c")" "$TEST_DIR/notified" -- \
	"$sealblkd" --key-file key image.seal >early.log 2>&1 </dev/null &
daemon_pid=$! daemon_log=$TEST_DIR/early.log
own_pid "$daemon_pid"
has_size() { grep -qx 4194304 early.log; }
wait_for 20 has_size || fail "who connected first was not served"
stop_daemon
echo '- early'

# ---- not for us, or nothing that we can serve ------------------------------------------------
refuse 2 'nowhere to listen' "$sealblkd" --key-file key image.seal
refuse 2 'nowhere to listen' env LISTEN_FDS=1 LISTEN_PID=1 "$sealblkd" --key-file key image.seal
for kind in datagram:d connected:e file:f; do
	refuse 1 'inherited socket odd: not a listening stream socket' \
		"$python" "$activate" "odd=$kind" notified -- "$sealblkd" --key-file key image.seal
done
sockets=$(printf 'n%d=unix:n%d,' {1..17}{,})
refuse 2 'too many sockets' "$python" "$activate" "${sockets%,}" notified -- \
	"$sealblkd" --key-file key image.seal
"$sealblk" info --json image.seal | grep -q '"clean"' || fail "the image was touched"
echo '- refused'

# ---- systemd's own launcher ------------------------------------------------------------------
if command -v systemd-socket-activate >/dev/null; then
	daemon_log=$TEST_DIR/systemd.log
	systemd-socket-activate -l "$TEST_DIR/g" --fdname=guest -E XDG_RUNTIME_DIR "$sealblkd" --key-file key \
		image.seal >"$daemon_log" 2>&1 </dev/null &
	daemon_pid=$!
	own_pid "$daemon_pid"
	listens() { [[ -S g ]]; }
	wait_for 10 listens || fail "systemd-socket-activate does not listen"
	nbd_io "$TEST_DIR/g" 'read -P 7 0 64k'
	grep -q 'inherited socket guest' "$daemon_log" || fail "the name was not taken over"
	stop_daemon
	echo '- systemd-socket-activate'
fi
if command -v systemd-analyze >/dev/null; then
	mkdir units
	cp "$SRC_DIR"/docs/systemd/* units/
	sed -i "s|/usr/local/bin/|$BUILD_DIR/|" units/*.service
	cp units/sealblkd@.service units/sealblkd@vm.service
	cp units/sealblkd@.socket units/sealblkd@vm.socket
	cp units/sealblk@.service units/sealblk@vm.service
	SYSTEMD_UNIT_PATH="$TEST_DIR/units:" systemd-analyze verify --man=no --recursive-errors=no \
		./units/sealblkd@vm.socket ./units/sealblkd@vm.service ./units/sealblk@vm.service \
		>verify.log 2>&1 ||
		{ cat verify.log; fail "systemd-analyze does not like the units"; }
	! grep sealblk verify.log || fail "systemd-analyze has remarks"
	echo '- units'
fi
