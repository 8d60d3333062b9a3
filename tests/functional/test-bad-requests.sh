#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Clients that break the protocol: they get the errors that the protocol names,
# or lose their connection, and the daemon serves on.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need python3
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
"$sealblk" create --size 64M --key-file key image.seal
start_daemon --socket "$socket" --key-file key image.seal

memory_kib() {
	awk '/^VmRSS/ { print $2 }' "/proc/$daemon_pid/status"
}

# Only root sees those of a process that may not be dumped.
descriptors() {
	((EUID == 0)) || { echo 0; return; }
	find "/proc/$daemon_pid/fd" -mindepth 1 | wc -l
}

open_before=$(descriptors)
python3 "$SRC_DIR/tests/tools/bad_requests.py" "$socket"
kill -0 "$daemon_pid" || fail "the daemon is gone"
same_descriptors() { (($(descriptors) <= open_before)); }
wait_for 10 same_descriptors || fail "$(descriptors) descriptors, $open_before before"
(($(memory_kib) < 400 * 1024)) || fail "uses $(memory_kib) KiB"

# What clients sent does not steer a terminal, and lines stay few.
LC_ALL=C grep -q '[[:cntrl:]]' "$daemon_log" && fail "control characters in the log"
stop_daemon
start_daemon --socket "$socket" --key-file key image.seal
grep -q recover "$daemon_log" && fail "was not closed cleanly"
stop_daemon
