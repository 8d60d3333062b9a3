#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk attach and detach with the device mapper: all that job-attach-dm.sh does in a small
# guest.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/shim.sh"

need qemu-system-x86_64 lsblk
guest_programs=("$sealblk" "$sealblkd" lsblk)
guest_files=("$SRC_DIR/tests/guest/attach-common.sh")
need_shim
run_job job-attach-dm.sh 200 "unused=" -smp 2
grep -Eq 'WARNING:|BUG:|Oops|hung_task|blocked for more' "$guest_log" && fail "the kernel complains"
echo "figures: $(job_value "$guest_log" figures)"
