#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Where io_uring is refused the daemon says so once and serves with libaio; told
# to use io_uring all the same, it does not start.
. "$(dirname "$0")/../lib.sh"
need nbdcopy
cd "$TEST_DIR"

socket=$TEST_DIR/s
refuse_uring=$BUILD_DIR/tests/refuse_uring
head -c 64 /dev/urandom >key
head -c 8M /dev/urandom >data
"$sealblk" create --size 8M --key-file key image.seal

# serves ENGINE: bytes go in and come out again, and the daemon ends well.
serves() {
	nbdcopy --flush data "nbd+unix:///?socket=$socket"
	nbdcopy "nbd+unix:///?socket=$socket" copy
	cmp data copy
	# Its descriptors tell.
	ls -l "/proc/$daemon_pid/fd" >fds
	stop_daemon
	case $1 in
	io_uring) grep -q 'anon_inode:\[io_uring\]' fds ;;
	libaio) ! grep -q 'anon_inode:\[io_uring\]' fds && grep -q 'anon_inode:\[eventpoll\]' fds ;;
	esac || fail "it did not use $1"
	expect_exit 0 "$sealblk" check --key-file key image.seal
}

start_daemon --io-engine libaio --socket "$socket" --key-file key image.seal
grep -q libaio "$daemon_log" && fail "what was asked for is no news"
serves libaio

for error in EPERM ENOSYS; do
	sealblkd_really=$sealblkd
	sealblkd=$refuse_uring
	start_daemon "$error" "$sealblkd_really" --workers 2 --socket "$socket" --key-file key image.seal
	expect_equal 1 "$(grep -c 'this system refuses io_uring (.*): libaio is used' "$daemon_log")" \
		"log lines about the engine"
	serves libaio
	sealblkd=$sealblkd_really
	expect_exit 1 "$refuse_uring" "$error" "$sealblkd" --io-engine io_uring --socket "$socket" \
		--key-file key image.seal
	expect_equal 1 "$(wc -l <output)" "lines printed"
	expect_output 'error: cannot use io_uring: .*--io-engine libaio does without$'
done

[[ -e /proc/sys/kernel/io_uring_disabled && $(</proc/sys/kernel/io_uring_disabled) != 0 ]] &&
	skip "this system refuses io_uring: the other half is not tested"
start_daemon --socket "$socket" --key-file key image.seal
serves io_uring
start_daemon --io-engine io_uring --socket "$socket" --key-file key image.seal
serves io_uring
