#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk key list, add, remove and rotate: of an image that nobody serves, under
# a daemon, refused, and cut short by kill -9. No data is touched, ids are never
# used again, and to the end nothing is lost but what --destroy-data destroys.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io jq
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
for name in a b c d e wrong; do make_key $name; done
echo 'correct horse' >phrase
head -c 64 /dev/zero >zeros
head -c 31 /dev/urandom >short
: >empty

key() {
	"$sealblk" key "$@"
}

# slots IMAGE: "slot:id:kind" of each, in a line.
slots() {
	key list --json "$1" | jq -r '[.key_slots[] | "\(.slot):\(.key_id):\(.kind)"] | join(" ")'
}

# opens IMAGE KEYSOURCE...: does this key open it? Wrong ones must be told as such.
opens() {
	local image=$1 status=0
	shift
	"$sealblk" key export "$@" "$image" >/dev/null 2>&1 || status=$?
	((status == 0 || status == 4)) || fail "exit $status of a key that opens or not"
	((status == 0))
}

# refuse EXIT PATTERN ARGUMENT...: one line, and the image as it was.
refuse() {
	local status=$1 pattern=$2 before
	shift 2
	before=$(slots image.seal)
	expect_exit "$status" key "$@"
	expect_output "^sealblk: .*$pattern"
	expect_equal 1 "$(wc -l <output)" "lines printed"
	expect_equal "$before" "$(slots image.seal)" "key slots after a refusal"
}

search() {
	"$SRC_DIR/tests/tools/find_in_memory.py" "$@"
}

# ---- nobody serves it -----------------------------------------------------------
"$sealblk" create --size 4M --key-file a image.seal
expect_equal '0:1:key-file' "$(slots image.seal)" "a new image"
expect_equal 8 "$(key list --json image.seal | jq .key_slots_max)" key_slots_max
expect_exit 0 key list image.seal
expect_output '^0: key-file, key 1, added 20.*Z$'
first_tib=$("$sealblk" key export --key-file a image.seal 2>/dev/null)

expect_exit 0 key add --key-file a --new-passphrase-file phrase image.seal
expect_output '^image image\.seal: the new key is in slot 1$'
expect_equal '0:1:key-file 1:4:passphrase' "$(slots image.seal)" "after add"
opens image.seal --key-file a || fail "the first key opens no more"
opens image.seal --passphrase-file phrase || fail "the new passphrase does not open it"
expect_exit 0 key add --passphrase-file phrase --new-key-file a image.seal
expect_output 'the new key was already in slot 0$'
expect_exit 0 key add --passphrase-file phrase --new-key-file <(cat b) image.seal
expect_exit 0 key remove --key-file a --slot 1 image.seal
expect_output ': slot 1 is emptied$'
expect_exit 0 key remove --key-file a --slot 1 image.seal
expect_output ': slot 1 was empty already$'
opens image.seal --passphrase-file phrase && fail "a removed passphrase still opens it"

# The id of the slot that was emptied is not given out again.
expect_exit 0 key rotate --key-file a --new-key-file c image.seal
expect_output ': the new key is in slot 1, slot 0 is emptied$'
expect_equal '1:6:key-file 2:5:key-file' "$(slots image.seal)" "after rotate"
opens image.seal --key-file a && fail "a rotated key still opens it"
opens image.seal --key-file b || fail "a key that was not rotated opens no more"
expect_equal "$first_tib" "$("$sealblk" key export --key-file c image.seal 2>/dev/null)" \
	"the key of the data, after rotate"
expect_exit 0 "$sealblk" check --key-file c image.seal

# ---- refused --------------------------------------------------------------------
refuse 4 'none of the keys' add --key-file wrong --new-key-file d image.seal
refuse 4 'none of the keys' add --passphrase-file phrase --new-key-file d image.seal
refuse 4 'none of the keys' rotate --key-file a --new-key-file d image.seal
refuse 4 'none of the keys' remove --key-file wrong --slot 1 image.seal
refuse 1 'the new key is the old one' rotate --key-file c --new-key-file c image.seal
refuse 1 'all its bytes are the same' add --key-file c --new-key-file zeros image.seal
refuse 1 'a key has 32 to 4096 bytes' add --key-file c --new-key-file short image.seal
refuse 1 'its first line has' rotate --key-file c --new-passphrase-file empty image.seal
refuse 1 'No such file' add --key-file c --new-key-file missing image.seal
refuse 1 'not being served: a key is needed' remove --slot 1 image.seal
refuse 1 '--destroy-data is for the last' remove --key-file c --slot 1 --destroy-data image.seal
refuse 2 'wants a key' add --new-key-file d image.seal
refuse 2 'wants a new key' rotate --key-file c image.seal
refuse 2 'one new key' add --key-file c --new-key-file d --new-passphrase-file phrase image.seal
refuse 2 'wants --slot' remove --key-file c image.seal
refuse 2 'slots have the numbers 0 to 7' remove --key-file c --slot 8 image.seal
refuse 2 'takes no --slot' add --slot 1 --key-file c --new-key-file d image.seal
refuse 2 'takes no --new-key-file' remove --slot 1 --key-file c --new-key-file d image.seal
expect_exit 1 "$sealblk" create --size 1M --key-file zeros weak.seal
expect_output '^sealblk: key file zeros: is no key'
for verb in list add remove rotate; do
	expect_exit 0 key "$verb" --help
	expect_output "^usage: sealblk key $verb "
done

# ---- all slots in use -----------------------------------------------------------
for ((i = 0; i < 6; i++)); do
	make_key "more$i"
	expect_exit 0 key add --key-file c --new-key-file "more$i" image.seal
done
refuse 1 'all its key slots are in use' add --key-file c --new-key-file d image.seal
refuse 1 'all its key slots are in use' rotate --key-file more5 --new-key-file d image.seal
for slot in 0 3 4 5 6 7; do
	expect_exit 0 key remove --key-file c --slot $slot image.seal
done
expect_equal '1:6:key-file 2:5:key-file' "$(slots image.seal)" "after filling and emptying"

# ---- live -----------------------------------------------------------------------
start_daemon --verbose --socket "$socket" --key-file c image.seal
nbd_io "$socket" 'write -P 7 0 1M' flush
refuse 4 'none of the keys' add --key-file wrong --new-key-file d image.seal
refuse 4 'none of the keys' rotate --key-file a --new-key-file d image.seal
refuse 1 'all its bytes are the same' add --key-file c --new-key-file zeros image.seal
expect_exit 0 key add --key-file b --new-passphrase-file <(cat phrase) image.seal
expect_output ': the new key is in slot 0$'
expect_exit 0 key rotate --key-file c --new-key-file d image.seal
expect_output ': the new key is in slot 3, slot 1 is emptied$'
expect_equal '0:13:passphrase 2:5:key-file 3:14:key-file' "$(slots image.seal)" "live"
expect_exit 0 key remove --slot 2 image.seal
expect_exit 0 key remove --slot 0 image.seal
expect_exit 0 key remove --slot 0 image.seal
expect_output 'was empty already$'
refuse 1 'this is its last key slot' remove --slot 3 image.seal
refuse 1 'daemon, which has the keys, must be stopped' remove --slot 3 --destroy-data image.seal
nbd_io "$socket" 'read -P 7 0 1M' 'write -P 8 1M 1M' flush
grep -q 'image image\.seal: a key was added in slot 3$' "$daemon_log" || fail "not in the log"
grep -q 'image image\.seal: the key in slot 1 was removed$' "$daemon_log" || fail "not in the log"
# The secrets went through the daemon and its helper, and are in neither any more.
read -ra children <<<"$(cat /proc/"$daemon_pid"/task/*/children)"
if search "$daemon_pid" "$daemon_log" >/dev/null; then
	for pid in "$daemon_pid" "${children[@]}"; do
		search "$pid" b c d phrase && fail "a secret is left in the memory of $pid"
	done
else
	echo "not looked for secrets in the daemon's memory: only root may"
fi
# As after a crash: what the daemon has not closed.
kill_daemon
opens image.seal --key-file c && fail "a key that was rotated live still opens it"
opens image.seal --passphrase-file phrase && fail "a key that was removed live still opens it"
# Not closed, and the keys can be changed all the same: the next daemon recovers it.
expect_exit 0 key rotate --key-file d --new-key-file e image.seal
start_daemon --socket "$socket" --key-file e image.seal
nbd_io "$socket" 'read -P 7 0 1M' 'read -P 8 1M 1M'
stop_daemon
expect_exit 0 "$sealblk" check --key-file e image.seal
expect_output 'image\.seal: clean$'

start_daemon --read-only --socket "$socket" --key-file e image.seal
refuse 1 'is in use' add --key-file e --new-key-file a image.seal
stop_daemon

# ---- kill -9 in the middle: the old key or the new one, and always one ----------
rounds=12
[[ ${SEALBLK_LONG:-} ]] && rounds=300
declare -A seen=([old]=0 [new]=0 [both]=0)
old=e new=d
for ((i = 0; i < rounds; i++)); do
	if ((i % 2)); then
		start_daemon --socket "$socket" --key-file $old image.seal
		"$sealblk" key rotate --key-file $old --new-key-file $new image.seal >/dev/null 2>&1 &
		pid=$!
		sleep "0.00$((RANDOM % 10))"
		kill_daemon
		wait "$pid" || true
	else
		"$sealblk" key rotate --key-file $old --new-key-file $new image.seal >/dev/null 2>&1 &
		pid=$!
		own_pid "$pid"
		sleep "0.0$((RANDOM % 2))$((RANDOM % 10))"
		kill -KILL "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
		disown_pid "$pid"
	fi
	state=none
	opens image.seal --key-file $new && state=new
	opens image.seal --key-file $old && { [[ $state == new ]] && state=both || state=old; }
	[[ $state != none ]] || fail "round $i: neither key opens it"
	seen[$state]=$((seen[$state] + 1))
	# Asked for again, it goes on from there.
	[[ $state == new ]] || expect_exit 0 key rotate --key-file $old --new-key-file $new image.seal
	expect_equal 1 "$(key list --json image.seal | jq '.key_slots | length')" "key slots"
	expect_equal "$first_tib" "$("$sealblk" key export --key-file $new image.seal 2>/dev/null)" \
		"the key of the data"
	[[ $old == e ]] && old=d new=e || old=e new=d
done

# ---- crypto-erase ---------------------------------------------------------------
cp image.seal copy.seal
slot=$(key list --json image.seal | jq '.key_slots[0].slot')
refuse 1 'this is its last key slot' remove --key-file $old --slot "$slot" image.seal
refuse 4 'none of the keys' remove --key-file wrong --slot "$slot" --destroy-data image.seal
expect_exit 0 key remove --key-file $old --slot "$slot" --destroy-data image.seal
expect_output 'its data is destroyed: no key opens it ever again$'
expect_output '^copies of it, backups and snapshots, are not'
expect_equal '' "$(slots image.seal)" "slots after crypto-erase"
expect_exit 4 key export --key-file $old image.seal
expect_output 'has no key slot left: its data was destroyed$'
expect_exit 0 "$sealblk" info image.seal
expect_output 'key slots +none'
for at in 131072 196608; do
	expect_equal 0 "$(od -An -v -tx1 -j $((at + 128)) -N 1024 image.seal | tr -d ' 0\n' | wc -c)" \
		"bytes left in the slots of the keyring at $at"
done
opens copy.seal --key-file $old || fail "it was not this key that opened it"
echo "figures: $rounds rotations killed: ${seen[old]} old, ${seen[both]} both, ${seen[new]} new"
