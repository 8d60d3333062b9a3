#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk encrypt and rekey: live and where nobody serves the image; at a rate, shown,
# paused, killed and followed by several; what is refused changes nothing and is one line.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq nbdcopy qemu-io qemu-img
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
for name in key other wrong; do make_key $name; done
make_random base.raw 24M
reader=$SRC_DIR/tests/tools/read_image.py

# state JOB IMAGE [MEMBER]
state() {
	"$sealblk" "$1" status --json "$2" | jq -r ".${3:-$1}"
}

is_in_state() {
	[[ $(state "$1" "$2") == "$3" ]]
}

# is_past JOB IMAGE BYTES
is_past() {
	(($(state "$1" "$2" at_bytes) >= $3))
}

# inside IMAGE MEMBER: of info.
inside() {
	"$sealblk" info --json "$1" | jq -c "$2"
}

serve() {
	start_daemon --socket "$socket" --workers 2 --key-file key "$@"
}

# expect_disk FILE: what clients read.
expect_disk() {
	nbdcopy "$(nbd_uri "$socket")" copy.raw
	expect_same "$1" copy.raw
}

# states IMAGE: what an independent reader finds; the map's own checks too.
states() {
	"$reader" "$1" --key-file key --map | cut -d ' ' -f 3 | sort -u | tr '\n' ' '
}

# refuse EXIT PATTERN COMMAND...: one line, and image.seal stays as it is.
refuse() {
	local status=$1 pattern=$2 before
	shift 2
	before=$(inside image.seal '[.planes, .key_slots, .sectors, .revoked]')
	expect_exit "$status" "$@"
	expect_output "^sealblkd?: .*$pattern"
	expect_equal 1 "$(wc -l <output)" "lines printed"
	expect_equal "$before" "$(inside image.seal '[.planes, .key_slots, .sectors, .revoked]')" \
		"after a refusal"
	expect_equal none "$(state encrypt image.seal)" "encrypt, after a refusal"
	expect_equal none "$(state rekey image.seal)" "rekey, after a refusal"
}

# refuse_off [KEYSOURCE...]
refuse_off() {
	refuse 1 'its encryption is off: switch it on first' "$sealblk" encrypt "$@" image.seal
	refuse 1 'its encryption is off: switch it on first' "$sealblk" encrypt start "$@" image.seal
	refuse 1 'its encryption is off: switch it on first' "$sealblk" rekey --key-file key image.seal
}

# ---- refused where nobody serves it --------------------------------------------
"$sealblk" create --base base.raw --key-file key image.seal
refuse 1 'is not being served: a key is needed' "$sealblk" encrypt image.seal
refuse 4 'none of the keys' "$sealblk" encrypt --key-file wrong image.seal
refuse 4 'none of the keys' "$sealblk" rekey --key-file wrong image.seal
refuse 2 '--max-rate' "$sealblk" encrypt --key-file key --max-rate fast image.seal
"$sealblk" encryption off --key-file key image.seal
refuse_off --key-file key
"$sealblk" encryption on --key-file key image.seal
"$sealblk" key add --key-file key --new-key-file other image.seal
refuse 1 '2 key slots are in use: give --drop-other-slots' \
	"$sealblk" rekey --key-file key image.seal
"$sealblk" key revoke --key-file key image.seal
refuse 4 'its keys are revoked' "$sealblk" encrypt --key-file key image.seal
refuse 4 'its keys are revoked' "$sealblk" rekey --key-file key --drop-other-slots image.seal
"$sealblk" key restore --key-file key image.seal
for verb in encrypt rekey; do
	for action in start status pause resume ''; do
		expect_exit 0 "$sealblk" $verb $action --help
		expect_output "^usage: sealblk $verb"
	done
	expect_exit 2 "$sealblk" $verb pause
	expect_exit 1 "$sealblk" $verb status missing.seal
	# Nothing is under way: nothing changes.
	expect_exit 0 "$sealblk" $verb pause --key-file key image.seal
	expect_output "^image image\.seal: $verb: not under way$"
	expect_exit 0 "$sealblk" $verb resume --key-file key image.seal
done

# ---- refused live ------------------------------------------------------------------
serve --read-only image.seal
refuse 1 'image image\.seal: is in use' "$sealblk" encrypt --key-file key image.seal
refuse 1 'image image\.seal: is in use' \
	"$sealblk" rekey --key-file key --drop-other-slots image.seal
refuse 1 'image image\.seal: is in use' "$sealblk" encrypt pause --key-file key image.seal
stop_daemon
serve image.seal
refuse 4 'none of the keys' "$sealblk" rekey --key-file wrong image.seal
refuse 1 'a key is needed' "$sealblk" rekey image.seal
refuse 1 '2 key slots are in use: give --drop-other-slots' \
	"$sealblk" rekey --key-file key image.seal
"$sealblk" encryption off image.seal
refuse_off
refuse_off --max-rate 1M
expect_equal 0 "$("$sealblk" encrypt status --json image.seal | jq .max_rate)" "the rate of an order that was refused"
"$sealblk" encryption on image.seal
"$sealblk" key revoke image.seal
refuse 4 'its keys are revoked' "$sealblk" encrypt image.seal
refuse 4 'its keys are revoked' "$sealblk" rekey --key-file key --drop-other-slots image.seal
"$sealblk" key restore --key-file key image.seal

# ---- live, at a rate, shown, followed by two and by events -----------------------
"$sealblk" events image.seal >told &
own_pid $!
"$sealblk" events --json image.seal >told.json &
own_pid $!
# A line comes every 10 s.
start_us=${EPOCHREALTIME/./}
"$sealblk" encrypt --max-rate 2M --progress always image.seal >first 2>lines &
first=$!
own_pid $first
wait_for 5 is_past encrypt image.seal $((2 << 20)) || fail "it does not begin"
"$sealblk" encrypt --progress never image.seal >second 2>&1 &
second=$!
own_pid $second
expect_exit 0 "$sealblk" encrypt start image.seal
expect_output 'encrypt: running, [0-9.]+% \([0-9.]+ MiB of 24 MiB looked at, [0-9.]+ (MiB|KiB|bytes) moved\)'
tells_time_left() {
	"$sealblk" encrypt status image.seal | grep '^image image\.seal: encrypt: running, .* left$'
}
wait_for 5 tells_time_left || fail "status tells no time left: $("$sealblk" encrypt status image.seal)"
"$sealblk" encrypt status --json image.seal >status.json
expect_equal '"running" "none" 25165824 2097152 0 null' "$(jq -r \
	'"\(.encrypt|tojson) \(.rekey|tojson) \(.disk_bytes) \(.max_rate) \(.failed_bytes) \(.problem)"' \
	status.json)" "status"
wait $first || fail "encrypt failed: $(cat lines)"
took_ms=$(((${EPOCHREALTIME/./} - start_us) / 1000))
wait $second || fail "the second follower failed: $(cat second)"
disown_pid $first
disown_pid $second
grep -Eq '^encrypt +[0-9.]+%  [0-9.]+ MiB of 24 MiB' lines || fail "no progress shown: $(cat lines)"
for file in first second; do
	expect_equal 'image image.seal: no sector is plain any more, and no base is needed' "$(cat $file)" $file
done
((took_ms > 12000 * 7 / 10 && took_ms < 12000 * 13 / 10)) ||
	fail "24 MiB at 2 MiB/s took $took_ms ms"
figures="24 MiB at 2 MiB/s in $took_ms ms"
expect_equal '"none" null true' "$(state encrypt image.seal 'encrypt|tojson') $(inside image.seal .base) $(
	inside image.seal .server_encrypted)" "at the end"
expect_exit 0 "$sealblk" encrypt image.seal # all is encrypted already
mv base.raw gone.raw
expect_disk gone.raw
for event in rewrite-state rewrite-progress; do
	grep -q " $event " told || fail "events tells of no $event"
	jq -se "any(.event == \"$event\" and .disk_bytes == 25165824)" told.json >/dev/null ||
		fail "events --json tells of no $event"
done
expect_equal running "$(jq -r 'select(.event == "rewrite-progress").encrypt' told.json | sort -u)" \
	"states while it went on"
old_key=$(inside image.seal '.planes[0].key_id')
expect_exit 0 "$sealblk" rekey --key-file other --drop-other-slots --max-rate 0 image.seal
expect_output '^image image\.seal: all is under the new key, the old one is destroyed$'
expect_equal 1 "$(inside image.seal '[.planes[] | select(.kind == "sealed")] | length')" "sealed planes"
[[ $(inside image.seal '.planes[0].key_id') != "$old_key" ]] || fail "the old data key is there yet"
expect_equal 1 "$(inside image.seal '.key_slots | length')" "key slots"
expect_disk gone.raw
stop_daemon
expect_exit 4 "$sealblkd" --socket "$socket" --key-file key image.seal
expect_exit 0 "$sealblk" check --key-file other image.seal
start_daemon --socket "$socket" --key-file other image.seal
expect_disk gone.raw
stop_daemon
mv gone.raw base.raw

# ---- killed, paused, switched off in its midst ---------------------------------------
# begin JOB [ARGUMENT...]: slowly, in the background; follower is whoever waits for its end.
begin() {
	"$sealblk" "$1" --max-rate 4M "${@:2}" cut.seal >follower.out 2>&1 &
	follower=$!
	own_pid $follower
	wait_for 10 is_past "$1" cut.seal $((8 << 20)) || fail "it does not come on"
}

# expect_follower EXIT PATTERN
expect_follower() {
	local status=0
	wait $follower || status=$?
	disown_pid $follower
	expect_equal "$1" "$status" "exit of the follower"
	grep -q "$2" follower.out || fail "the follower said: $(cat follower.out)"
}

"$sealblk" create --base base.raw --key-file key cut.seal
serve cut.seal
begin encrypt
kill_daemon
expect_follower 1 'its daemon has stopped: it goes on when it is served again'
expect_equal stopped "$(state encrypt cut.seal)" "when nobody serves it"
expect_exit 0 "$sealblk" encrypt status cut.seal
expect_output 'encrypt: goes on when it is served$'
serve cut.seal
wait_for 20 is_in_state encrypt cut.seal none || fail "it does not go on by itself"
moved=$(state encrypt cut.seal moved_bytes)
((moved <= 18 << 20)) || fail "it began again: $moved bytes moved of what was left"
expect_equal 'null true' "$(inside cut.seal .base) $(inside cut.seal .server_encrypted)" "after kill -9"
expect_disk base.raw

begin rekey --key-file key
expect_exit 4 "$sealblk" rekey --key-file wrong cut.seal
expect_output '^sealblk: image cut\.seal: none of the keys given opens it$'
expect_exit 0 "$sealblk" rekey pause cut.seal
expect_output 'rekey: paused$'
expect_follower 1 'was paused'
expect_exit 0 "$sealblk" rekey pause cut.seal
moved=$(state rekey cut.seal moved_bytes)
stop_daemon
expect_equal paused "$(state rekey cut.seal)" "when nobody serves it"
serve cut.seal
nbd_io "$socket" 'write -P 5 1M 1M'
sleep 1
expect_equal paused "$(state rekey cut.seal)" "after a restart"
expect_equal 0 "$(state rekey cut.seal moved_bytes)" "bytes moved while paused"
kill_daemon
serve cut.seal
expect_equal paused "$(state rekey cut.seal)" "after kill -9"
expect_exit 0 "$sealblk" rekey resume cut.seal
wait_for 20 is_in_state rekey cut.seal none || fail "it does not go on"
nbd_io "$socket" 'read -P 5 1M 1M'
stop_daemon
expect_exit 0 "$sealblk" check --key-file key cut.seal
expect_equal 'sealed ' "$(states cut.seal)" "states after the rekey"
rm cut.seal

"$sealblk" create --base base.raw --key-file key cut.seal
serve cut.seal
begin encrypt
"$sealblk" encryption off cut.seal
expect_equal waiting "$(state encrypt cut.seal)" "while encryption is off"
expect_exit 0 "$sealblk" encrypt status cut.seal
expect_output 'encrypt: waits until encryption is on and the keys are not revoked$'
moved=$(state encrypt cut.seal moved_bytes)
sleep 1
(($(state encrypt cut.seal moved_bytes) == moved)) || fail "moved while encryption is off"
"$sealblk" encryption on cut.seal
expect_equal running "$(state encrypt cut.seal)" "when encryption is on again"
"$sealblk" key revoke cut.seal
expect_equal waiting "$(state encrypt cut.seal)" "while the keys are revoked"
"$sealblk" key restore --key-file key cut.seal
expect_exit 0 "$sealblk" encrypt start --max-rate 0 cut.seal
expect_follower 0 'no sector is plain any more'
expect_disk base.raw
stop_daemon
rm cut.seal

# ---- where nobody serves it ----------------------------------------------------------
"$sealblk" create --base base.raw --size 25M --key-file key cut.seal
expect_exit 0 "$sealblk" encrypt start --key-file key cut.seal
expect_output 'encrypt: goes on when it is served$'
expect_exit 0 "$sealblk" encrypt pause --key-file key cut.seal
expect_output 'encrypt: paused$'
# The verb alone starts it again, and does the work.
"$sealblk" encrypt --max-rate 4M --key-file key cut.seal >follower.out 2>&1 &
follower=$!
own_pid $follower
sleep 1
expect_exit 1 "$sealblk" encrypt --key-file key cut.seal
expect_output '^sealblk: image cut\.seal: is in use'
expect_equal 1 "$(wc -l <output)" "lines printed"
kill -TERM $follower
expect_follower 1 'interrupted: ask again to go on, or serve it'
expect_equal 1 "$(wc -l <follower.out)" "lines printed"
expect_equal stopped "$(state encrypt cut.seal)" "after SIGTERM"
"$sealblk" encrypt --max-rate 4M --key-file key cut.seal >follower.out 2>&1 &
follower=$!
own_pid $follower
sleep 1
kill -KILL $follower
wait $follower || true
expect_exit 0 "$sealblk" encrypt --key-file key cut.seal
expect_output '^image cut\.seal: no sector is plain any more, and no base is needed$'
expect_exit 0 "$sealblk" encrypt --key-file key cut.seal
expect_equal 'sealed zero ' "$(states cut.seal)" "states after encrypt"
start_us=${EPOCHREALTIME/./}
expect_exit 0 "$sealblk" rekey --max-rate 8M --key-file key cut.seal
took_ms=$(((${EPOCHREALTIME/./} - start_us) / 1000))
((took_ms > 3000 * 7 / 10 && took_ms < 3000 * 13 / 10)) ||
	fail "24 MiB at 8 MiB/s took $took_ms ms"
expect_equal true "$(inside cut.seal .server_encrypted)" "server_encrypted"
expect_exit 0 "$sealblk" check --key-file key cut.seal
serve cut.seal
truncate -s 25M base.raw
expect_disk base.raw
stop_daemon
echo "figures: $figures; alone 24 MiB at 8 MiB/s in $took_ms ms"
