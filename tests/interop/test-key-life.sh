#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A disk's whole life with its keys: over a base, under load, encryption is switched,
# all is encrypted, data keys and key slots change, keys are revoked and restored, at
# random and killed now and then. Every acknowledged change is there; at the end all
# is encrypted without the base, no plaintext is in the image's file, and no old data
# key opens anything. SEED=N repeats a run as far as timing allows.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need_libnbd
need jq qemu-img
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
life=$SRC_DIR/tests/tools/key_life.py
seed=${SEED:-$(od -An -tu2 -N2 /dev/urandom | tr -d ' ')}
echo "SEED=$seed"
RANDOM=$seed
mkdir keys
key_sources=()
for name in a b c d e; do
	make_key keys/$name
	key_sources+=(--key-file "$TEST_DIR/keys/$name")
done
"$life" base base.raw 16
make_vhd base.vhd fixed base.raw
before=$(digest base.vhd)
# 5 sectors past the MiB: the last map block is a part of one.
"$sealblk" create --base base.vhd --size $((20 * 1024 * 1024 + 5 * 512)) --key-file keys/a image.seal

serve() {
	start_daemon --socket "$socket" --workers 2 "${key_sources[@]}" image.seal
}

# Revoked keys stay so when the daemon dies, and it does not serve them. Sets opening, a
# key that opens the image.
restore() {
	for opening in keys/*; do
		"$sealblk" key restore --key-file "$opening" image.seal >restored 2>&1 && return
	done
	cat restored
	fail "no key restores the image"
}

is_encrypted() {
	"$sealblk" info --json image.seal >info.json
	[[ $(jq -r '"\(.server_encrypted) \(.base)"' info.json) == 'true null' ]]
}

kills=0 rounds=7
[[ ${SEALBLK_LONG:-} ]] && rounds=60
for ((i = 0; i < rounds; i++)); do
	serve
	((i == 0)) || "$life" check "$socket" state base.raw
	sign=KILL
	((RANDOM % 4)) || sign=TERM
	timeout 120 "$life" run "$socket" state base.raw $((seed + i)) "2.$((RANDOM % 100))" "$sealblk" \
		image.seal keys "$daemon_pid" $sign >said || { cat said; fail "round $i, seed $((seed + i))"; }
	echo "round $i, $sign: $(cat said)"
	status=0
	{ wait "$daemon_pid" || status=$?; } 2>/dev/null
	disown_pid "$daemon_pid"
	if [[ $sign == KILL ]]; then
		kills=$((kills + 1))
	else
		expect_equal 0 "$status" "exit of the daemon"
	fi
	restore
	"$life" look known "$sealblk" image.seal keys
done

# ---- to the end -----------------------------------------------------------------------
# Two rekeys: however chance had it, two data keys are old then.
nr=0
for job in encrypt rekey rekey; do
	serve
	"$life" check "$socket" state base.raw
	timeout 120 "$life" end "$socket" state base.raw "$seed" "$sealblk" image.seal keys $job
	# What clients trimmed last is punched out a moment later.
	wait_for 10 is_encrypted || fail "after $job: $(cat info.json)"
	stop_daemon
	((++nr == 3)) || "$life" look known "$sealblk" image.seal keys
done
# Before the next start, which would mend what was left undone.
"$life" scan known image.seal base.vhd keys >said || { cat said; fail "see above"; }
expect_equal "$before" "$(digest base.vhd)" "the base's digest"
done_jobs=$(cat daemon.* | grep -c ' is done$')
((done_jobs >= 2)) || fail "only $done_jobs rewrites came to their end"

mv base.vhd gone.vhd
serve
"$life" check "$socket" state base.raw
stop_daemon
restore
is_encrypted || fail "when nobody serves it: $(cat info.json)"
expect_exit 0 "$sealblk" check --key-file "$opening" image.seal
echo "figures: $kills kills, $(cat said), $done_jobs rewrites ended, 0 lost"
