#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Encryption is switched off and on, without a daemon and under load: new writes
# follow, old sectors stay as they are, any history reads back right, also after
# kill -9 in the middle of switches. SEED=N repeats a run.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need_libnbd
need qemu-io fio jq
cd "$TEST_DIR"
socket=$TEST_DIR/s
seed=${SEED:-$(od -An -tu2 -N2 /dev/urandom | tr -d ' ')}
echo "SEED=$seed"
client=$SRC_DIR/tests/tools/end_under_load.py
make_key key
make_key other

encryption() {
	"$sealblk" encryption "$@"
}

# status IMAGE: "true" or "false".
status() {
	encryption status --json "$1" | jq .enabled
}

last_enabled() {
	encryption status --json "$1" | jq -r .last_enabled_time
}

states() {
	"$sealblk" map --json "$1" | jq -r '[.extents[].state] | unique | join(" ")'
}

# ---- nobody serves it -----------------------------------------------------------
"$sealblk" create --size 16M --key-file key image.seal
made=$(last_enabled image.seal)
expect_exit 0 encryption on image.seal
expect_output 'image image\.seal: encryption on, last enabled 20'
expect_exit 1 encryption off image.seal
expect_output 'is not being served: a key is needed'
expect_exit 4 encryption off --key-file other image.seal
expect_equal true "$(status image.seal)" "after two refusals"
sleep 1.1
expect_exit 0 encryption off --key-file key image.seal
expect_exit 0 encryption off image.seal
expect_output 'encryption off, last enabled 20'
expect_equal "$made" "$(last_enabled image.seal)" "time it was enabled, after it was switched off"
expect_exit 0 "$sealblk" check --key-file key image.seal
expect_exit 3 "$sealblkd" --socket "$socket" --key-file key --require-encryption image.seal
expect_exit 2 encryption off --key-file key --key-file key image.seal
expect_exit 1 encryption off --key-file key missing.seal
expect_exit 2 encryption image.seal

# ---- live -----------------------------------------------------------------------
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'write -P 1 0 1M' 'write -P 2 1M 1M'
expect_exit 0 encryption on image.seal
[[ $(last_enabled image.seal) != "$made" ]] || fail "the time it was enabled has not changed"
nbd_io "$socket" 'write -P 3 1M 64k' 'read -P 1 0 1M' 'read -P 3 1M 64k' 'read -P 2 1088k 960k'
expect_equal 'plain sealed zero' "$(states image.seal)" "states"
expect_equal 'false' "$("$sealblk" info --json image.seal | jq .server_encrypted)" "server_encrypted"
nbd_io "$socket" 'write -P 4 0 2M'
# The plaintext that was superseded is punched out and synced a moment later.
is_encrypted() {
	[[ $("$sealblk" info --json image.seal | jq .server_encrypted) == true ]]
}
wait_for 5 is_encrypted || fail "all is sealed, but server_encrypted is not true"
stop_daemon
expect_exit 0 "$sealblk" check --key-file key image.seal
expect_equal true "$(status image.seal)" "after a clean stop"

start_daemon --socket "$socket" --key-file key --require-encryption image.seal
expect_exit 1 encryption off image.seal
expect_output 'was started with --require-encryption'
expect_exit 0 encryption on image.seal
stop_daemon
start_daemon --socket "$socket" --key-file key --read-only image.seal
expect_exit 1 encryption off --key-file key image.seal
expect_output 'image image\.seal: is in use'
stop_daemon

# ---- under load -----------------------------------------------------------------
# switch_on_and_off IMAGE: until killed, or the daemon is gone.
switch_on_and_off() {
	local nr=0
	while encryption off "$1" >/dev/null 2>&1 && encryption on "$1" >/dev/null 2>&1; do
		nr=$((nr + 2))
		echo "$nr" >switches
		sleep 0.05
	done
}

"$sealblk" create --size 64M --key-file key fio.seal
start_daemon --socket "$socket" --workers 2 --key-file key fio.seal
switch_on_and_off fio.seal &
switching=$!
own_pid "$switching"
fio --name=v --ioengine=nbd --uri="$(nbd_uri "$socket")" --rw=randwrite --bsrange=512-64k \
	--iodepth=16 --size=64M --verify=crc32c --randseed="$seed" >fio.log 2>&1 ||
	{ cat fio.log; fail "what was written does not read back"; }
kill "$switching"
wait "$switching" 2>/dev/null || true
disown_pid "$switching"
(($(cat switches) >= 4)) || fail "only $(cat switches) switches under load"
expect_equal 'plain sealed' "$(states fio.seal | sed 's/ zero//')" "states after switching under load"
stop_daemon
expect_exit 0 "$sealblk" check --key-file key fio.seal
total=$(cat switches)

# ---- and killed -----------------------------------------------------------------
make_base base.vhd fixed 8
"$sealblk" create --base base.vhd --size 12M --key-file key killed.seal
rounds=3
[[ ${SEALBLK_LONG:-} ]] && rounds=30
for ((i = 0; i < rounds; i++)); do
	start_daemon --socket "$socket" --workers 2 --key-file key killed.seal
	switch_on_and_off killed.seal &
	switching=$!
	own_pid "$switching"
	"$client" load "$socket" state $((seed + i)) "1.$((RANDOM % 10))" "$daemon_pid" base.vhd.raw
	wait "$daemon_pid" 2>/dev/null || true
	disown_pid "$daemon_pid"
	wait "$switching" 2>/dev/null || true
	disown_pid "$switching"
	total=$((total + $(cat switches)))
	start_daemon --socket "$socket" --key-file key killed.seal
	"$client" check "$socket" state base.vhd.raw
	if ((i == 0)); then stop_daemon; else kill_daemon; fi
done
echo "figures: $total switches under load, $rounds kills, 0 lost"
