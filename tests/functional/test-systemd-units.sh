#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The units of docs/systemd: how exposed systemd finds the service, and that sealblkd
# starts and works with the system calls that the service leaves it. (That systemd finds
# no mistake in them: test-socket-activation.)
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need systemd-analyze qemu-io jq
cd "$TEST_DIR"
unit=$SRC_DIR/docs/systemd/sealblkd@.service
attach_unit=$SRC_DIR/docs/systemd/sealblk@.service

# ---- exposure -----------------------------------------------------------------------------------
# expect_exposure UNIT MAX: sets "level".
expect_exposure() {
	local name
	name=$(basename "$1")
	cp "$1" "$name"
	systemd-analyze --no-pager security --offline=yes "./$name" >exposure 2>&1 ||
		skip "this systemd-analyze looks at no unit files"
	level=$(sed -nE 's/.*Overall exposure level for .*: ([0-9.]+) .*/\1/p' exposure)
	[[ $level ]] || { cat exposure; fail "no exposure level"; }
	awk -v got="$level" -v max="$2" 'BEGIN { exit !(got <= max) }' ||
		{ grep '✗' exposure; fail "$name: exposure $level, more than $2"; }
}

# To make a device of the kernel's takes CAP_SYS_ADMIN, /dev and the host's network namespace.
expect_exposure "$attach_unit" 2.3
attach_level=$level
expect_exposure "$unit" 1.5
echo "figures: exposure $level, of attach $attach_level"

# ---- the daemon's own list lies within that of the unit ---------------------------------------------
# What the daemon answers itself does not matter.
own=$(sed '/calls that are answered/,/^};/d' "$SRC_DIR/daemon/sandbox/seccomp.c" |
	grep -o '\bSYS_[a-z0-9_]*' | sed 's/^SYS_//' | sort -u)
(($(wc -l <<<"$own") > 50)) || fail "no list of the daemon's"
for file in "$attach_unit" "$unit"; do
	"$python" "$SRC_DIR/tests/tools/unit_calls.py" "$file" >calls
	(($(wc -l <calls) > 100)) || fail "no list"
	missing=$(comm -13 calls - <<<"$own")
	[[ -z $missing ]] || fail "$file does not allow: $missing"
	for call in ptrace mount bpf perf_event_open init_module; do
		! grep -qx $call calls || fail "$file allows $call"
	done
done
# Here the daemon has none to give up.
! grep -qx capset calls || fail "$unit allows capset"
echo '- list'

# ---- starting and working with it ---------------------------------------------------------------------
filtered=$BUILD_DIR/tests/run_filtered
[[ -x $filtered ]] || skip "needs $filtered"
socket=$TEST_DIR/s
make_key key
"$sealblk" create --size 16M --key-file key image.seal
# CapabilityBoundingSet=, NoNewPrivileges=.
need setpriv
without=(setpriv --no-new-privs)
((EUID != 0)) || without+=(--inh-caps -all --bounding-set -all)
{
	echo '#!/bin/sh'
	printf '%q ' exec "${without[@]}" "$filtered" "$TEST_DIR/calls" "$sealblkd"
	echo '"$@"'
} >daemon
chmod +x daemon
real=$sealblkd
for engine in io_uring libaio; do
	sealblkd=$TEST_DIR/daemon
	start_daemon --io-engine $engine --socket "$socket" \
		--key-command "$(command -v cat) $TEST_DIR/key" image.seal
	! grep -q 'no Landlock' "$daemon_log" || echo "(this kernel has no Landlock)"
	nbd_io "$socket" 'write -P 5 0 1M' flush 'discard 0 64k' 'read -P 5 512k 64k'
	"$sealblk" rekey --progress=never --key-file key image.seal
	stop_daemon
	sealblkd=$real
done
"$sealblk" check --key-file key image.seal
echo '- works'
