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
exposure_max=1.5
unit=$SRC_DIR/docs/systemd/sealblkd@.service

# ---- exposure -----------------------------------------------------------------------------------
cp "$unit" sealblkd@.service
systemd-analyze --no-pager security --offline=yes ./sealblkd@.service >exposure 2>&1 ||
	skip "this systemd-analyze looks at no unit files"
level=$(sed -nE 's/.*Overall exposure level for .*: ([0-9.]+) .*/\1/p' exposure)
[[ $level ]] || { cat exposure; fail "no exposure level"; }
awk -v got="$level" -v max=$exposure_max 'BEGIN { exit !(got <= max) }' ||
	{ grep '✗' exposure; fail "exposure $level, more than $exposure_max"; }
echo "figures: exposure $level"

# ---- the daemon's own list lies within that of the unit ---------------------------------------------
"$python" "$SRC_DIR/tests/tools/unit_calls.py" "$unit" >calls
(($(wc -l <calls) > 100)) || fail "no list"
# What the daemon answers itself does not matter.
own=$(sed '/calls that are answered/,/^};/d' "$SRC_DIR/daemon/sandbox/seccomp.c" |
	grep -o '\bSYS_[a-z0-9_]*' | sed 's/^SYS_//' | sort -u)
(($(wc -l <<<"$own") > 50)) || fail "no list of the daemon's"
missing=$(comm -13 calls - <<<"$own")
[[ -z $missing ]] || fail "the unit does not allow: $missing"
for call in ptrace mount bpf capset perf_event_open init_module; do
	! grep -qx $call calls || fail "the unit allows $call"
done
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
