#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# dm-sealblk beside the kernel's NBD client over a unix socket: the same guest, daemon and
# image, in turn. The guest has one processor, and that is emulated (TCG): only the ratios count, and
# those of one round, as make check runs it, scatter. make bench runs the long form.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/guest.sh"
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/shim.sh"

need fio
cd "$TEST_DIR"
rounds=1 seconds=2
[[ ${SEALBLK_LONG:-} ]] && rounds=7 seconds=3
guest_programs=("$sealblk" "$sealblkd" nbd-client fio)
need_shim
run_job job-dm-sealblk-speed.sh $((90 + 10 * rounds * seconds)) "seconds=$seconds rounds=$rounds" -m 1536

# ratio LOAD WANTED: of dm-sealblk to nbd, the median of the rounds' ratios.
ratio() {
	paste <(job_value "$guest_log" "$1_dm") <(job_value "$guest_log" "$1_nbd") |
		awk '{ if (!$2) exit 1; print $1 / $2 }' | sort -g |
		awk -v load="$1" -v wanted="$2" '{ all[NR] = $1 }
			END {
				median = (all[int((NR + 1) / 2)] + all[int(NR / 2) + 1]) / 2
				printf "%s %.2f (%s %.2f)", load, median, median < wanted ? "short of" : "PASS", wanted
			}'
}

text=
for target in "randread 1.3" "randwrite 1.3" "read 1.2" "write 1.2"; do
	# shellcheck disable=SC2086  # two words
	text+=" $(ratio $target),"
done
echo "figures: TCG; dm-sealblk / nbd, rounds: $rounds, 4 KiB QD32 and sequential 1 MiB:${text%,}"
