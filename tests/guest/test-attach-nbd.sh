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
guest_programs=("$sealblk" "$sealblkd")
run_job job-attach-nbd.sh 200 "unused=" -smp 2
grep -Eq 'WARNING:|BUG:|Oops|hung_task|blocked for more' "$guest_log" && fail "the kernel complains"
echo "figures: $(job_value "$guest_log" figures)"
