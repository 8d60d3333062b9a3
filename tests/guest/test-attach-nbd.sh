#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk attach and detach with the kernel's NBD client: all that job-attach-nbd.sh does in
# a small guest.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest.sh"

need qemu-system-x86_64
# The README's block, as it stands but for where programs and key are.
readme_block attach 'sealblk attach' '/programs/sealblk attach' 'sealblk detach' '/programs/sealblk detach' \
	'mkfs.ext4 -q' '/programs/mke2fs -q -t ext4' vm.key key >"$TEST_DIR/readme.sh"
guest_files=("$SRC_DIR/tests/guest/attach-common.sh" "$TEST_DIR/readme.sh")
guest_programs=("$sealblk" "$sealblkd" "$BUILD_DIR/tests/hear_notify")
run_job job-attach-nbd.sh 200 "unused=" -smp 2
grep -Eq 'WARNING:|BUG:|Oops|hung_task|blocked for more' "$guest_log" && fail "the kernel complains"
echo "figures: $(job_value "$guest_log" figures)"
