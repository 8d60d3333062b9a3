#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The daemon dies under load, by kill -9, by SIGSEGV and for want of memory, also
# while it recovers from the death before; the same client comes back and finds
# every acknowledged change, and of what was on its way old or new, sector by
# sector (tests/model/). No core is left, and no helper. SEED=N repeats a run.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
"$BUILD_DIR/tests/mkvhd" --size 24M base.vhd
before=$(digest base.vhd)
"$sealblk" create --base base.vhd --key-file key image.seal

# ---- a memory cgroup of its own, of either version ---------------------------------------
cgroup='' no_cgroup=''
make_cgroup() {
	local root type where
	((EUID == 0)) || { no_cgroup="needs root"; return; }
	while read -r _ where type _; do
		[[ $type == cgroup2 || $where == */memory ]] || continue
		root=$where
		cgroup=$root/sealblk-test-$$
		mkdir "$cgroup" 2>/dev/null || continue
		[[ -e $cgroup/memory.max || -e $cgroup/memory.limit_in_bytes ]] && return
		rmdir "$cgroup"
	done </proc/mounts
	cgroup=''
	no_cgroup="no cgroup with the memory controller can be made here"
}

remove_cgroup() {
	local pid
	[[ $cgroup ]] || return
	while read -r pid; do kill -KILL "$pid"; done <"$cgroup/cgroup.procs"
	wait_for 5 rmdir "$cgroup"
}
trap 'status=$?; set +e; remove_cgroup; (exit $status); cleanup' EXIT
make_cgroup

# ---- deaths under load --------------------------------------------------------------------
deaths=kill,segv,oom rounds=12 ops=2500
if [[ ! $cgroup ]]; then
	deaths=kill,segv
	echo "OOM is left out: $no_cgroup"
fi
[[ ${SEALBLK_LONG:-} ]] && rounds=100
# What a core would need; the daemon itself says no.
ulimit -c "$(ulimit -H -c)"
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:handle_segv=0"
daemon_log=$TEST_DIR/daemon.log
"$BUILD_DIR/tests/model" ${SEED:+--seed "$SEED"} --ops $((rounds * ops)) --phases $rounds \
	--deaths "$deaths" ${cgroup:+--cgroup "$cgroup"} --early-deaths \
	"$socket" base.vhd -- "$sealblkd" --socket "$socket" --key-file key --workers 2 \
	image.seal >model.log 2>>"$daemon_log" || { grep -v '^sealblkd' model.log; fail "see below"; }
grep -v '^sealblkd' model.log
expect_equal "$before" "$(digest base.vhd)" "the base's digest"
expect_equal '' "$(find . -name 'core*')" "cores"
expect_exit 0 "$sealblk" check --key-file key image.seal

# ---- the helper dies alone: said once, and serving goes on ---------------------------------
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'write -P 7 0 64k'
helper=$(<"/proc/$daemon_pid/task/$daemon_pid/children")
helper=${helper%% *}
kill -KILL "$helper"
wait_for 5 grep -q 'helper process has ended' "$daemon_log" || fail "nothing was said"
nbd_io "$socket" 'read -P 7 0 64k' 'write -P 8 1M 64k' 'read -P 8 1M 64k' 'discard 0 64k'
expect_exit 0 "$sealblk" info image.seal
stop_daemon
expect_equal 1 "$(grep -c helper "$daemon_log")" "lines about the helper"
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'read -P 0 0 64k' 'read -P 8 1M 64k'
stop_daemon
grep '^figures: ' model.log
