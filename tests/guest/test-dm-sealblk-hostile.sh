#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# dm-sealblk and daemons that are broken or mean harm: each mistake is refused with its errno
# and one line in the kernel's log, what they leave goes to the next one as it was, and garbage
# beside users of the disk leaves the kernel whole.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/shim.sh"

cd "$TEST_DIR"
seconds=5
[[ ${SEALBLK_LONG:-} ]] && seconds=120
guest_programs=("$BUILD_DIR/tests/bad_dm_daemon")
need_shim
guest_kernel=slub_debug=FZP	# who uses freed memory, or more than he has, is reported
run_job job-dm-sealblk-hostile.sh $((90 + seconds)) "seconds=$seconds" -m 512 -smp 2
echo "figures: $(job_value "$guest_log" cases) cases; $(job_value "$guest_log" garbage) random commands in" \
	"$(job_value "$guest_log" lives) lives, $(job_value "$guest_log" not_refused) of them taken"
