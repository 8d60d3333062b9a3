#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# SIGTERM, seen by clients: what was received is finished. Then a client that
# connects again sees no error; with --stop-errors, what comes later is refused
# with ESHUTDOWN. Options get ERR_SHUTDOWN, and nobody can keep the daemon.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

cd "$TEST_DIR"
make_key key
"$sealblk" create --size 64M --key-file key image.seal

# told CASE [OPTION]
told() {
	local asked status=0 case=$1
	shift
	start_daemon --socket "$TEST_DIR/s" --key-file key --workers 2 "$@" image.seal
	"$python" "$SRC_DIR/tests/interop/shutdown.py" "$TEST_DIR/s" "$daemon_pid" "$case" ||
		fail "$case $*"
	asked=$SECONDS
	wait "$daemon_pid" || status=$?
	disown_pid "$daemon_pid"
	expect_equal 0 "$status" "exit of the daemon: $case $*"
	((SECONDS - asked <= 3)) || fail "$case: stopping took $((SECONDS - asked)) s"
	if grep -q 'error' "$daemon_log"; then fail "$case $*: an error in the log"; fi
}

for case in requests waiting_write stubborn options export_name silent; do
	told "$case" --stop-errors
done
for case in without_a_word options export_name silent; do
	told "$case"
done
"$sealblk" check image.seal

if [[ ${SEALBLK_LONG:-} ]]; then
	"$sealblk" create --size 3G --key-file key image-long.seal
	mv image-long.seal image.seal
	told long_zeroes
	"$sealblk" check image.seal
fi

# ---- QEMU, which connects again: it sees nothing of it ----
command -v qemu-img >/dev/null || skip "the rest needs qemu-img"
start_daemon --socket "$TEST_DIR/s" --key-file key image.seal
qemu-img bench -w -c 100000 -d 16 -s 4096 -t writeback --image-opts \
	"driver=nbd,server.type=unix,server.path=$TEST_DIR/s,reconnect-delay=30" >bench.log 2>&1 &
bench=$!
own_pid "$bench"
for _ in 1 2 3; do
	sleep 0.4
	stop_daemon
	start_daemon --socket "$TEST_DIR/s" --key-file key image.seal
done
status=0
wait "$bench" || status=$?
disown_pid "$bench"
((status == 0)) || fail "$(cat bench.log)"
stop_daemon
