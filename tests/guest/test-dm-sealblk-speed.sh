#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# dm-sealblk beside the kernel's NBD client over a unix socket: the same guest, daemon and
# image, in turn. The guest has one processor, and that is emulated (TCG): only the ratios count, and
# those of so short a run scatter.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/shim.sh"

need fio
cd "$TEST_DIR"
rounds=1 seconds=2
[[ ${SEALBLK_LONG:-} ]] && rounds=10 seconds=3
guest_programs=("$sealblk" "$sealblkd" nbd-client fio)
need_shim
run_job job-dm-sealblk-speed.sh $((90 + 10 * rounds * seconds)) "seconds=$seconds rounds=$rounds" -m 1536

# sum NAME: of all rounds.
sum() {
	job_value "$guest_log" "$1" | awk '{ n += $1 } END { print n }'
}

text=
for load in randread randwrite read write; do
	text+=" $load $(awk -v dm="$(sum ${load}_dm)" -v nbd="$(sum ${load}_nbd)" \
		'BEGIN { if (!nbd) exit 1; printf "%.2f", dm / nbd }')x,"
done
echo "figures: TCG; dm-sealblk / nbd, 4 KiB QD32 and sequential 1 MiB:${text%,}"
