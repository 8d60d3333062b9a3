#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A client that lives on when the daemon dies, by SIGKILL or SIGSEGV, under load, and is
# started again: QEMU's; the kernel's behind nbdkit, as in the README; and the kernel's when it
# is given a new connection.
# The block device shows a delay and not one error, and every acknowledged write is there.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest.sh"

need nbdkit
cd "$TEST_DIR"
rounds=4
[[ ${SEALBLK_LONG:-} ]] && rounds=40
seed=${SEED:-$RANDOM}
echo "SEED=$seed"
RANDOM=$seed
guest_sealblkd=${GUEST_SEALBLKD:-$sealblkd}	# a mutant, to see that it is caught
nbdkit_files() {
	nbdkit --dump-config | sed -n "s,^plugindir=\(.*\),\1/nbdkit-nbd-plugin.so,p; \
s,^filterdir=\(.*\),\1/nbdkit-retry-filter.so,p"
}
mapfile -t files < <(nbdkit_files)
[[ -f ${files[0]} && -f ${files[1]} ]] || skip "needs nbdkit's nbd plugin and retry filter"
guest_programs=("$sealblk" "$guest_sealblkd" "$BUILD_DIR/tests/powercut" nbdkit "${files[@]}")

# expect_nothing_lost: the load's verdict.
expect_nothing_lost() {
	expect_equal 0 "$(job_value "$guest_log" wrong)" "sectors that read wrong"
	expect_equal 0 "$(job_value "$guest_log" failed)" "requests that failed"
	changes=$((changes + $(job_value "$guest_log" changes)))
	deaths=$((deaths + rounds))
	echo "reconnect, $1: $rounds deaths, $(job_value "$guest_log" changes) changes, 0 lost"
}
changes=0 deaths=0

job_variables() {
	echo "way=$1 rounds=$rounds seed=$seed"
}

# ---- the kernel's client, behind nbdkit -----------------------------------------
guest_files=(attach)
{
	echo '#!/bin/sh'
	echo 'set -e'
	readme_block reconnect "nbdkit " "/programs/nbdkit " nbd-client /programs/nbd-client
} >attach
run_job job-reconnect.sh $((60 + 10 * rounds)) "$(job_variables nbdkit)" -m 512
expect_nothing_lost "kernel with nbdkit"

# ---- the kernel's client, given a new connection --------------------------------
guest_programs=("$sealblk" "$guest_sealblkd" "$BUILD_DIR/tests/powercut")
guest_files=()
run_job job-reconnect.sh $((60 + 10 * rounds)) "$(job_variables netlink)" -m 512
expect_nothing_lost "kernel with a new connection"

# ---- QEMU's client: a disk of the guest, the daemon out here --------------------
guest_programs=("$BUILD_DIR/tests/powercut")
make_key key
"$sealblk" create --size 8M --key-file key vm.seal
start_daemon --socket "$TEST_DIR/s" --key-file key vm.seal
truncate -s 4096 told
start_job job-reconnect.sh "$(job_variables qemu)" \
	-drive "file=$(nbd_uri "$TEST_DIR/s"),file.reconnect-delay=300,format=raw,if=none,id=disk,discard=unmap" \
	-device virtio-blk-pci,drive=disk -drive file=told,format=raw,if=none,id=told \
	-device virtio-blk-pci,drive=told

# load_runs FROM: has it completed writes since?
load_runs() {
	(($(job_value "$guest_log" writes | tail -n 1) > $1 + 30))
}

for ((i = 1; i <= rounds; i++)); do
	from=$(job_value "$guest_log" writes | tail -n 1)
	wait_for 60 load_runs "${from:-0}" || fail "round $i: the load stands still"
	sleep "0.$((RANDOM % 10))"
	signal=KILL
	((i % 2 == 0)) || signal=SEGV
	kill -$signal "$daemon_pid"
	wait "$daemon_pid" 2>/dev/null || true
	disown_pid "$daemon_pid"
	rm "$daemon_log"
	start_daemon --socket "$TEST_DIR/s" --key-file key vm.seal
	grep -q recovered "$daemon_log" || fail "there was nothing to recover"
done
printf end | dd of=told conv=notrunc status=none
finish_job 60
expect_nothing_lost "QEMU"
stop_daemon
"$sealblk" check --key-file key vm.seal
echo "figures: $deaths deaths in three ways to come back, $changes changes, 0 lost"
