#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblkd --policy: which images are served and how they are encrypted, at the
# start and at SIGHUP, live and under load; a policy that is wrong is refused in
# one line, and changes nothing.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq nbdinfo fio python3 qemu-io
cd "$TEST_DIR"
socket=$TEST_DIR/s
policy=$TEST_DIR/policy.json
make_key key
mkdir disks
for image in disks/a disks/b listed extra; do
	"$sealblk" create --size 16M --key-file key "$image.seal" >>create.log
done
touch disks/notes.txt disks/.hidden.seal # no images

# enabled IMAGE...: on or off for each.
enabled() {
	local image
	for image; do
		"$sealblk" encryption status --json "$image.seal" | jq -r 'if .enabled then "on" else "off" end'
	done | tr '\n' ' ' | sed 's/ $//'
}

# say_policy TEXT: with DIR for this test's folder.
say_policy() {
	echo "${1//DIR/$TEST_DIR}" >"$policy"
}

# serve ARGUMENT...
serve() {
	start_daemon --socket "$socket" --key-file key --policy "$policy" "$@"
}

# lines_logged PATTERN
lines_logged() {
	grep -Ec -- "$1" "$daemon_log" || true
}

# hang_up PATTERN: SIGHUP, and wait for one more line like this.
hang_up() {
	local before
	before=$(lines_logged "$1")
	kill -HUP "$daemon_pid"
	wait_for 10 more_logged "$1" "$before" || fail "not logged: $1"
	expect_equal $((before + 1)) "$(lines_logged "$1")" "lines like $1"
}

more_logged() {
	(($(lines_logged "$1") > $2))
}

# ---- docs/policy.md's examples -------------------------------------------------------------
mkdir srv
for image in srv/web srv/scratch archive; do
	"$sealblk" create --size 4M --key-file key --encryption off "$image.seal" >>create.log
done
doc_block docs/policy.md folder /srv/disks "$TEST_DIR/srv" >"$policy"
serve
expect_equal 'on on off' "$(enabled srv/web srv/scratch archive)" "a folder"
stop_daemon
doc_block docs/policy.md exceptions /srv/disks "$TEST_DIR/srv" /mnt "$TEST_DIR" >"$policy"
serve
expect_equal 'on off on' "$(enabled srv/web srv/scratch archive)" "a folder with exceptions"
nbdinfo "$(nbd_uri "$socket" archive)" >nbdinfo.log
stop_daemon

# ---- what is served, and how ---------------------------------------------------------
say_policy '{
	"encryption": false,
	"directory": "DIR/disks",
	"exports": [
		{"name": "l", "image": "DIR/listed.seal", "encryption": true},
		{"name": "b", "encryption": true}
	]
}'
serve extra.seal
expect_equal 'off off on on' "$(enabled extra disks/a disks/b listed)" "encryption after the start"
nbdinfo --list --json "$(nbd_uri "$socket")" | jq -r '.exports[]."export-name"' >names
expect_equal ',a,b,l' "$(tr '\n' , <names | sed 's/,$//')" "exports, the first without a name"
expect_equal 1 "$(lines_logged "policy $policy: encryption off, 4 exports, 2 switched")" "lines about it"

# ask_policy FILTER: the answer to the verb.
ask_policy() {
	python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"{\"verb\":\"policy\"}\n")
sys.stdout.write(s.makefile().read())' "$(control_socket extra.seal)" | jq -r "$1"
}
expect_equal "$policy false" "$(ask_policy '"\(.file) \(.encryption)"')" "policy"
expect_equal ' false false,a false false,b true true,l true true' \
	"$(ask_policy '.exports[] | "\(.export) \(.policy) \(.enabled)"' | tr '\n' , | sed 's/,$//')" "exports"
expect_equal 5 "$(ask_policy '.read_time, .exports[].last_enabled_time' | grep -Ec '^20.*Z$')" "times"

# ---- SIGHUP: read again ---------------------------------------------------------------
"$sealblk" events disks/a.seal >followed &
own_pid $!
wait_for 5 grep -q 'encryption is off' followed
nbd_io "$socket" 'write -P 1 0 1M'
say_policy '{
	"encryption": true,
	"directory": "DIR/disks",
	"exports": [
		{"name": "l", "image": "DIR/listed.seal", "encryption": false},
		{"name": "b", "encryption": true}
	]
}'
hang_up "policy $policy: read again: encryption on, 3 switched, 0 failed"
expect_equal 'on on on off' "$(enabled extra disks/a disks/b listed)" "encryption after SIGHUP"
wait_for 5 grep -q 'encryption was switched on' followed || fail "no event"
expect_equal true "$(ask_policy .encryption)" "the policy in force"
nbd_io "$socket" 'read -P 1 0 1M' 'write -P 2 0 512k' 'read -P 2 0 512k' 'read -P 1 512k 512k'
expect_equal 1024 "$("$sealblk" info --json extra.seal | jq .sectors.sealed)" "sealed sectors"

# Switched by hand meanwhile: until the policy is read again.
"$sealblk" encryption off disks/a.seal
expect_equal off "$(enabled disks/a)"
hang_up "policy $policy: read again: encryption on, 1 switched, 0 failed"
expect_equal on "$(enabled disks/a)"
hang_up "policy $policy: read again: encryption on, 0 switched, 0 failed"

# ---- wrong ones change nothing ----------------------------------------------------------
# refused TEXT PATTERN: at SIGHUP, and at a start.
refused() {
	say_policy "$1"
	hang_up "^sealblkd: error: policy $policy: $2.*; the policy in force stays as it is$"
	expect_equal 'on on on off' "$(enabled extra disks/a disks/b listed)" "encryption"
	expect_equal true "$(ask_policy .encryption)" "the policy in force"
	lines=$((lines + 1))
	expect_equal "$lines" "$(wc -l <"$daemon_log")" "lines logged"
}
lines=$(wc -l <"$daemon_log")
refused '{
	"encryption": flase
}' "line 2, column 20: invalid token near 'flase'"
refused '' "line 2, column 0: '\[' or '\{' expected near end of file"
refused '{"encryption": false, "exprots": []}' 'unknown member "exprots"'
refused '{"encryption": "off"}' '"encryption" must be true or false'
refused '{"encryption": false, "exports": [{"name": "a", "image": "DIR/x.seal"}], "directory": "DIR/disks"}' \
	'two exports have the name "a"'
refused '{"encryption": false, "exports": [{"name": "x", "image": "DIR/missing.seal"}]}' \
	'the image of the export "x", .*/missing.seal, cannot be opened: No such file or directory'
refused '{"encryption": false, "exports": [{"name": "x", "encryption": true}]}' \
	'the export "x" wants an image: it is neither in the directory nor on the command line'
refused '{"encryption": false, "directory": "DIR/nowhere"}' \
	'its directory .*/nowhere cannot be read: No such file or directory'
refused '{"encryption": false, "directory": "DIR/key"}' \
	'its directory .*/key cannot be read: Not a directory'
head -c 17000000 /dev/zero | tr '\0' ' ' >"$policy"
hang_up "^sealblkd: error: policy $policy: cannot be read: File too large; "
rm "$policy"
hang_up "^sealblkd: error: policy $policy: cannot be read: No such file or directory; "
mkdir "$policy"
hang_up "^sealblkd: error: policy $policy: cannot be read: Is a directory; "
rmdir "$policy"
mkfifo "$policy"
hang_up "^sealblkd: error: policy $policy: cannot be read: it is no file; "
rm "$policy"
expect_equal 'on on on off' "$(enabled extra disks/a disks/b listed)" "after bad policies"

# ---- exports that come and go: at the next start, and the rest at once ---------------------
mv disks/b.seal away.seal
"$sealblk" create --size 16M --key-file key disks/new.seal >>create.log
say_policy '{"encryption": false, "directory": "DIR/disks"}'
hang_up "warning: policy $policy: the list of exports has changed \(new: \"new\"; gone: \"b\", \"l\"\): that takes effect when the daemon is started again"
wait_for 5 more_logged 'read again: encryption off, 2 switched' 0 || fail "the rest was not done"
expect_equal 'off off on off' "$(enabled extra disks/a away listed)" "encryption"
stop_daemon
serve extra.seal
nbdinfo --list --json "$(nbd_uri "$socket")" | jq -r '.exports[]."export-name"' >names
expect_equal ',a,new' "$(tr '\n' , <names | sed 's/,$//')" "exports after a start"
expect_equal 'off off off' "$(enabled extra disks/a disks/new)" "encryption"
stop_daemon
expect_exit 0 "$sealblk" check --key-file key extra.seal
expect_exit 0 "$sealblk" check --key-file key disks/new.seal
mv away.seal disks/b.seal
rm disks/new.seal

# ---- under load ------------------------------------------------------------------------------
rm extra.seal
"$sealblk" create --size 64M --key-file key extra.seal >>create.log
say_policy '{"encryption": true}'
serve --workers 2 extra.seal
fio --name=v --ioengine=nbd --uri="$(nbd_uri "$socket")" --rw=randwrite --bsrange=512-64k \
	--iodepth=16 --size=64M --loops=3 --verify=crc32c >fio.log 2>&1 &
load=$!
own_pid "$load"
switches=0
while kill -0 "$load" 2>/dev/null; do
	say_policy '{"encryption": false}'
	hang_up 'read again: encryption off, 1 switched, 0 failed'
	say_policy '{"encryption": true}'
	hang_up 'read again: encryption on, 1 switched, 0 failed'
	switches=$((switches + 2))
done
wait "$load" || { cat fio.log; fail "what was written does not read back"; }
disown_pid "$load"
((switches >= 4)) || fail "only $switches switches under load"
stop_daemon
expect_exit 0 "$sealblk" check --key-file key extra.seal

# ---- at a start ---------------------------------------------------------------------------------
# refused_start STATUS PATTERN [ARGUMENT...]: with one line.
refused_start() {
	local status=$1 pattern=$2
	shift 2
	expect_exit "$status" timeout 20 "$sealblkd" --socket "$socket" --key-file key \
		--policy "$policy" "$@"
	expect_output "$pattern"
	expect_equal 1 "$(wc -l <output)" "lines printed"
}
say_policy '{"encryption": true,}'
refused_start 1 "^sealblkd: error: policy $policy: line 1, column 21: string or '}' expected near '}'" extra.seal
say_policy '{"encryption": true}'
refused_start 1 'it has no image to serve, and neither has the command line'
say_policy '{"exports": [{"name": "x", "image": "DIR/missing.seal"}]}'
refused_start 1 'image .*/missing.seal: cannot be opened: No such file or directory'
say_policy '{"exports": [{"name": "x", "image": "DIR/extra.seal"}]}'
refused_start 1 'extra.seal: given twice: it is an export already' extra.seal
refused_start 1 'two exports have the name "x"' --export x=listed.seal
mkdir many
for ((i = 0; i < 1025; i++)); do touch "many/$i.seal"; done
say_policy '{"directory": "DIR/many"}'
refused_start 1 'more than 1024 exports: ".*" is one too many'
rm many/*
touch "many/$(printf '\xff').seal"
refused_start 1 'seal" is not UTF-8'
expect_exit 2 "$sealblkd" --socket "$socket" --key-file key --policy

# ---- what cannot be done: no start like that, and a running daemon goes on ------------------
rm listed.seal
"$sealblk" create --size 16M --key-file key listed.seal >>create.log
limit=$(($(stat -c %s listed.seal) / 1024 + 1024)) # no room for a second plane
say_policy '{"encryption": false}'
(ulimit -f "$limit" && refused_start 1 'image listed.seal: cannot switch planes: .*' listed.seal)
expect_equal on "$(enabled listed)"
expect_exit 0 "$sealblk" check --key-file key listed.seal
say_policy '{"encryption": true}'
daemon_log=$TEST_DIR/limited.log
(ulimit -f "$limit" && exec "$sealblkd" --socket "$socket" --key-file key --policy "$policy" \
	listed.seal) >"$daemon_log" 2>&1 &
daemon_pid=$!
own_pid "$daemon_pid"
wait_for 20 daemon_is_ready_or_gone
nbd_io "$socket" 'write -P 5 0 1M'
say_policy '{"encryption": false}'
hang_up 'read again: encryption off, 0 switched, 1 failed'
expect_equal 1 "$(lines_logged 'error: image listed.seal: cannot switch planes: ')" "lines about it"
nbd_io "$socket" 'read -P 5 0 1M' 'write -P 6 0 1M' 'read -P 6 0 1M'
expect_equal on "$(enabled listed)"
stop_daemon

# ---- --require-encryption: nothing may lower it, and an image that is lower is not raised -----------
say_policy '{"exports": [{"name": "x", "encryption": false, "image": "DIR/extra.seal"}]}'
refused_start 1 'it switches encryption off \(of the export "x"\), which --require-encryption forbids' \
	--require-encryption
"$sealblk" encryption off --key-file key listed.seal
say_policy '{"encryption": true, "exports": [{"name": "l", "image": "DIR/listed.seal"}]}'
refused_start 3 'its encryption is off, and --require-encryption asks for it' --require-encryption
say_policy '{"encryption": true}'
serve --require-encryption extra.seal
say_policy '{"encryption": false}'
hang_up 'it switches encryption off \(of the export ""\), which --require-encryption forbids; the policy in force stays'
expect_equal on "$(enabled extra)"
stop_daemon

# ---- --read-only; without a policy; without the helper --------------------------------------------
serve --read-only extra.seal
grep -q 'warning: image extra.seal: is served --read-only: its encryption stays on, which is not' \
	"$daemon_log" || fail "no warning"
hang_up 'its encryption stays on, which is not what policy'
stop_daemon
expect_equal on "$(enabled extra)"
start_daemon --socket "$socket" --key-file key extra.seal
hang_up '^sealblkd: SIGHUP: there is no --policy to read again$'
expect_equal "null null 1" "$(ask_policy '"\(.file) \(.encryption) \(.exports | length)"')" "no policy"
stop_daemon
say_policy '{}'
serve extra.seal
helper=$(pgrep -P "$daemon_pid")
expect_equal 1 "$(wc -l <<<"$helper")" "children of the daemon"
kill -KILL "$helper"
wait_for 5 more_logged 'the helper process has ended' 0 || fail "the helper is not missed"
hang_up "policy $policy: cannot be read: Broken pipe; the policy in force stays as it is"
nbd_io "$socket" 'read 0 512'
stop_daemon
echo "figures: $switches switches by SIGHUP under load"
