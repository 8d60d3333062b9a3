#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk key revoke and restore: of an image that nobody serves, and under a daemon:
# all I/O is refused, no key is left in memory, nothing is lost, and what was refused
# has changed nothing. Also under load, killed at any moment, and with a disk that
# hangs. SEED=N repeats a run as far as timing allows.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need_libnbd
need qemu-io jq
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
seed=${SEED:-$(od -An -tu2 -N2 /dev/urandom | tr -d ' ')}
echo "SEED=$seed"
under_load=$SRC_DIR/tests/tools/revoke_under_load.py
for name in key new wrong; do make_key $name; done
echo 'correct horse' >phrase

key() {
	"$sealblk" key "$@"
}

# is_revoked IMAGE: "true" or "false", as info says.
is_revoked() {
	"$sealblk" info --json "$1" | jq .revoked
}

# slots IMAGE
slots() {
	key list --json "$1" | jq -c .key_slots
}

# refuse EXIT PATTERN COMMAND...: one line, and neither mark nor key slots change.
refuse() {
	local status=$1 pattern=$2 before
	shift 2
	before="$(is_revoked image.seal) $(slots image.seal)"
	expect_exit "$status" "$@"
	expect_output "^sealblkd?: .*$pattern"
	expect_equal 1 "$(wc -l <output)" "lines printed"
	expect_equal "$before" "$(is_revoked image.seal) $(slots image.seal)" "after a refusal"
}

# refuse_everything [KEYSOURCE...]: what wants the keys of a revoked image.
refuse_everything() {
	local restore='its keys are revoked: sealblk key restore'
	refuse 4 "$restore" "$sealblk" encryption off "$@" image.seal
	refuse 4 "$restore" "$sealblk" encryption on "$@" image.seal
	refuse 4 "$restore" "$sealblk" key add --key-file key --new-key-file new image.seal
	refuse 4 "$restore" "$sealblk" key rotate --key-file key --new-key-file new image.seal
	refuse 4 "$restore" "$sealblk" key remove "$@" --slot 1 image.seal
	refuse 4 'none of the keys' "$sealblk" key restore --key-file wrong image.seal
	expect_exit 0 "$sealblk" info image.seal
	expect_output 'its keys are revoked: all I/O is refused'
	expect_exit 0 "$sealblk" map image.seal
	expect_exit 0 key list image.seal
	expect_output '^revoked: '
	expect_exit 0 "$sealblk" encryption status image.seal
	expect_output 'encryption on, .*its keys are revoked$'
}

# ---- nobody serves it -----------------------------------------------------------
"$sealblk" create --size 16M --key-file key image.seal
key add --key-file key --new-passphrase-file phrase image.seal
expect_equal false "$(is_revoked image.seal)" "a new image"
refuse 1 'is not being served: to mark it a key is needed' "$sealblk" key revoke image.seal
refuse 4 'none of the keys' "$sealblk" key revoke --key-file wrong image.seal
refuse 2 'wants a key' "$sealblk" key restore image.seal
expect_exit 0 key restore --key-file key image.seal
expect_output ': its keys were not revoked$'
expect_exit 0 key revoke --key-file key image.seal
expect_output ': its keys are revoked, it is not served until they are restored$'
expect_exit 0 key revoke --passphrase-file phrase image.seal
expect_output ': its keys were revoked already$'
expect_equal true "$(is_revoked image.seal)" "after revoke"
refuse_everything --key-file key
refuse 4 'its keys are revoked: sealblk key restore' "$sealblkd" --socket "$socket" --key-file key \
	image.seal
refuse 4 'its keys are revoked' key export --key-file key image.seal
expect_exit 4 "$sealblk" check --key-file key image.seal
expect_exit 0 "$sealblk" check image.seal
expect_exit 0 key restore --passphrase-file phrase image.seal
expect_output ': its keys are restored, it can be served again$'
expect_exit 0 "$sealblk" check --key-file key image.seal
for verb in revoke restore; do
	expect_exit 0 key $verb --help
	expect_output "^usage: sealblk key $verb "
done

# ---- live -----------------------------------------------------------------------
# look PID KEYSOURCE...: is a key in the memory of the daemon or its helper? Says what.
look() {
	local pids status=0
	pids=$(echo "$1 $(cat /proc/"$1"/task/*/children)" | tr -s " \n" , | sed s/,$//)
	"$SRC_DIR/tests/tools/find_image_keys.py" "$pids" large.seal "${@:2}" || status=$?
	((status <= 1)) || fail "the memory of $pids cannot be searched: $status"
	return $status
}

# find_all KEYSOURCE...: the same search finds what a daemon that serves has to have.
find_all() {
	local kind
	look "$daemon_pid" "$@" >found || fail "the search finds nothing"
	for kind in 'image key' 'MAC key' 'HMAC state' 'plane key' 'data key' 'data key, expanded' \
		'data key, expanded to decrypt' 'tweak key, expanded'; do
		grep -q "^$kind:" found || fail "the search does not find: $kind"
	done
}

find_none() {
	look "$daemon_pid" "$@" && fail "a key is left in memory"
	return 0
}

"$sealblk" create --size 2050G --key-file key large.seal
key add --key-file key --new-passphrase-file phrase large.seal
for xts in auto openssl; do
	start_daemon --xts $xts --workers 2 --socket "$socket" --key-file key image.seal \
		--export large=large.seal
	nbd_io "$socket" 'write -P 7 0 1M' flush
	qemu-io -f raw -c 'write -P 1 0 1M' -c 'write -P 2 2T 1M' -c 'write -P 3 1T 512' \
		"$(nbd_uri "$socket" large)" >/dev/null
	((EUID != 0)) || find_all --key-file key

	# The other image goes on, and its keys are its own.
	expect_exit 0 key revoke large.seal
	expect_output ': its keys are revoked and have left the daemon.s memory, all I/O is refused$'
	((EUID != 0)) || find_none --key-file key
	nbd_io "$socket" 'read -P 7 0 1M' 'write -P 7 1M 1M' flush
	qemu-io -f raw -r -c 'read 0 512' "$(nbd_uri "$socket" large)" >output 2>&1 || true
	expect_output 'read failed: Operation not permitted'

	expect_exit 4 key restore --key-file wrong large.seal
	((EUID != 0)) || find_none --key-file key
	expect_exit 0 key restore --passphrase-file phrase large.seal
	expect_output ': its keys are restored, I/O goes on$'
	qemu-io -f raw -c 'read -P 1 0 1M' -c 'read -P 2 2T 1M' -c 'read -P 3 1T 512' \
		-c 'write -P 1 0 512' "$(nbd_uri "$socket" large)" >/dev/null ||
		fail "reads otherwise after a restore"
	((EUID != 0)) || find_all --passphrase-file phrase
	expect_exit 0 key revoke large.seal
	((EUID != 0)) || { find_none --passphrase-file phrase; find_none --key-file key; }
	stop_daemon
	key restore --key-file key large.seal
done
((EUID == 0)) || echo "not looked for keys in the daemon's memory: only root may"
expect_exit 0 "$sealblk" check --key-file key large.seal
rm large.seal

start_daemon --socket "$socket" --workers 2 --key-file key image.seal
nbd_io "$socket" 'write -P 7 0 2M' flush
expect_exit 0 key revoke image.seal
refuse_everything
expect_exit 0 key revoke image.seal
expect_output ': its keys were revoked already$'
# It was closed cleanly, and nothing touches it any more.
before=$(digest image.seal)
sleep 2.5
expect_equal "$before" "$(digest image.seal)" "the image, two seconds after it was revoked"
kill_daemon
refuse 4 'its keys are revoked: sealblk key restore' "$sealblkd" --socket "$socket" --key-file key \
	image.seal
expect_equal '"clean"' "$("$sealblk" info --json image.seal | jq .state)" "state after a kill"
expect_exit 0 key restore --key-file key image.seal

# The whole way with one daemon: restored, changed, revoked, stopped, restored.
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'read -P 7 0 2M'
expect_exit 0 key revoke image.seal
expect_exit 0 key restore --key-file key image.seal
expect_exit 0 key restore --key-file key image.seal
expect_output ': its keys were not revoked$'
expect_exit 4 key restore --key-file wrong image.seal
expect_exit 0 "$sealblk" encryption off image.seal
nbd_io "$socket" 'write -P 8 0 1M' flush
expect_exit 0 key revoke image.seal
expect_exit 0 key restore --key-file key image.seal
expect_exit 0 "$sealblk" encryption on image.seal
expect_exit 0 key rotate --key-file key --new-key-file new image.seal
nbd_io "$socket" 'read -P 8 0 1M' 'read -P 7 1M 1M' 'write -P 9 2M 1M' flush
expect_exit 0 key revoke image.seal
expect_exit 4 key restore --key-file key image.seal
stop_daemon
expect_exit 0 key restore --key-file new image.seal
expect_exit 0 "$sealblk" check --key-file new image.seal
expect_output 'image\.seal: clean$'
start_daemon --socket "$socket" --key-file new image.seal
nbd_io "$socket" 'read -P 8 0 1M' 'read -P 7 1M 1M' 'read -P 9 2M 1M'
stop_daemon

# WRITEs whose payload is on its way: the one begun before the revoke and the one begun after
# it both get EPERM when all of it has come, the large one too; then I/O goes on behind them.
start_daemon --socket "$socket" --key-file new image.seal
PYTHONPATH=$SRC_DIR/tests/tools python3 - "$socket" "$sealblk" <<'PY'
import select, subprocess, sys
import raw_nbd as nbd

socket, sealblk = sys.argv[1:]
early, late = nbd.Client(socket, go=""), nbd.Client(socket, go="")
early.request(nbd.WRITE, 0, 8 * nbd.MIB, cookie=1, payload=bytes(3 * nbd.MIB))
nbd.Client(socket, go="").read(0, 512)  # the daemon has seen to the one before
subprocess.run([sealblk, "key", "revoke", "image.seal"], check=True, stdout=subprocess.DEVNULL)
late.request(nbd.WRITE, 0, 2 * nbd.MIB, cookie=2, payload=bytes(nbd.MIB))
assert not select.select([early.socket, late.socket], [], [], 0.3)[0], "answered too early"
early.send(bytes(5 * nbd.MIB))
late.send(bytes(nbd.MIB))
for client, cookie in ((early, 1), (late, 2)):
    reply = client.reply()
    assert (reply.cookie, reply.error) == (cookie, nbd.EPERM), (reply.cookie, reply.error)
    assert client.do(nbd.FLUSH).error == nbd.EPERM
subprocess.run([sealblk, "key", "restore", "--key-file", "new", "image.seal"], check=True,
               stdout=subprocess.DEVNULL)
for client in (early, late):
    assert client.read(0, 512) == bytes((8,)) * 512, "a refused WRITE has changed the disk"
PY
nbd_io "$socket" 'read -P 8 0 1M' 'read -P 7 1M 1M' 'read -P 9 2M 1M'
stop_daemon

start_daemon --read-only --socket "$socket" --key-file new image.seal
expect_exit 1 key revoke --key-file new image.seal
expect_output 'is in use'
stop_daemon

# ---- under load -----------------------------------------------------------------
rounds=10 kills=8
[[ ${SEALBLK_LONG:-} ]] && rounds=40 kills=40
"$sealblk" create --size 32M --key-file key busy.seal
start_daemon --socket "$socket" --workers 2 --key-file key busy.seal
"$under_load" rounds "$socket" state "$seed" $rounds "$sealblk" busy.seal key >told
cat told
expect_equal $rounds "$(grep -c 'left memory after' "$daemon_log")" "times they left memory"
slowest=$(sed -n 's/.*left memory after \([0-9]*\) ms.*/\1/p' "$daemon_log" | sort -n | tail -n 1)
((slowest < 2000)) || fail "with a disk that works it took $slowest ms"
stop_daemon
expect_exit 0 "$sealblk" check --key-file key busy.seal

# Switches of planes all the time: either is done before the other one begins.
start_daemon --socket "$socket" --workers 2 --key-file key busy.seal
(while kill -0 "$daemon_pid" 2>/dev/null; do
	"$sealblk" encryption off busy.seal || [[ $? == 4 ]]
	"$sealblk" encryption on busy.seal || [[ $? == 4 ]]
done) >/dev/null 2>&1 &
switching=$!
own_pid $switching
"$under_load" rounds "$socket" state "$seed" 5 "$sealblk" busy.seal key
kill $switching
wait $switching 2>/dev/null || true
disown_pid $switching
stop_daemon
expect_exit 0 "$sealblk" check --key-file key busy.seal

# ---- and killed -----------------------------------------------------------------
declare -A seen=([revoked]=0 [not]=0)
for ((i = 0; i < kills; i++)); do
	start_daemon --socket "$socket" --workers 2 --key-file key busy.seal
	"$under_load" killed "$socket" state $((seed + i)) "0.$((RANDOM % 5))$((RANDOM % 10))" \
		"$sealblk" busy.seal key "$daemon_pid"
	wait "$daemon_pid" 2>/dev/null || true
	disown_pid "$daemon_pid"
	if [[ $(is_revoked busy.seal) == true ]]; then
		seen[revoked]=$((seen[revoked] + 1))
		expect_exit 4 "$sealblkd" --socket "$socket" --key-file key busy.seal
		expect_exit 0 key restore --key-file key busy.seal
	else
		seen[not]=$((seen[not] + 1))
	fi
	start_daemon --socket "$socket" --key-file key busy.seal
	"$SRC_DIR/tests/tools/end_under_load.py" check "$socket" state
	stop_daemon
	expect_exit 0 "$sealblk" check --key-file key busy.seal
done
echo "figures: keys gone after $slowest ms at most under load, $rounds times; ${seen[revoked]} kills" \
	"while revoked, ${seen[not]} while not, 0 lost"
