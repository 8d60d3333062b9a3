#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# SIGTERM, seen by clients: what was received is finished, what comes later is
# refused with ESHUTDOWN or ERR_SHUTDOWN, and nobody can keep the daemon.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

cd "$TEST_DIR"
make_key key
"$sealblk" create --size 64M --key-file key image.seal
for case in requests waiting_write options export_name silent stubborn; do
	start_daemon --socket "$TEST_DIR/s" --key-file key --workers 2 image.seal
	"$python" "$SRC_DIR/tests/interop/shutdown.py" "$TEST_DIR/s" "$daemon_pid" "$case" ||
		fail "$case"
	asked=$SECONDS status=0
	wait "$daemon_pid" || status=$?
	disown_pid "$daemon_pid"
	expect_equal 0 "$status" "exit of the daemon: $case"
	((SECONDS - asked <= 3)) || fail "$case: stopping took $((SECONDS - asked)) s"
	grep -q 'error' "$daemon_log" && fail "$(cat "$daemon_log")"
done
"$sealblk" check image.seal
