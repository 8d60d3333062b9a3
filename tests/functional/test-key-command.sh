#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Keys from a command, for both programs: what it is told, that its bytes are those
# of a key file, and one clear line for each way in which it can go wrong.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io jq python3 curl
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
make_key key
make_key second
"$sealblk" create --size 4M --key-file key image.seal

# script NAME: a program, from stdin.
script() {
	cat >"$1"
	chmod +x "$1"
}

# refuse PATTERN COMMAND...: exit 1, one line.
refuse() {
	local pattern=$1
	shift
	expect_exit 1 "$@"
	expect_output "$pattern"
	expect_equal 1 "$(wc -l <output)" "lines printed"
}

script give <<-END
	#!/bin/bash
	read -r line
	echo "\$line" >>"$TEST_DIR/asked"
	cat "$TEST_DIR/\${1:-key}"
END
give=$TEST_DIR/give

# ---- hangs: begun now, looked at in the end, since the deadline is 30 s -----------
script hang <<-'END'
	#!/bin/sh
	echo "waiting for $1" >&2
	cat "$1"
	exec sleep 600
END
mkdir run2
begin=$SECONDS
cp --sparse=always image.seal checked.seal
cp --sparse=always image.seal other.seal
"$sealblk" check --key-command "$TEST_DIR/hang /dev/null" checked.seal >hang1 2>&1 &
hang1=$!
"$sealblk" check --key-command "$TEST_DIR/hang $TEST_DIR/key" checked.seal >hang2 2>&1 &
hang2=$!
XDG_RUNTIME_DIR=$TEST_DIR/run2 "$sealblkd" --socket "$TEST_DIR/s2" \
	--key-command "$TEST_DIR/hang /dev/null" other.seal >hang3 2>&1 &
hang3=$!
for pid in $hang1 $hang2 $hang3; do own_pid "$pid"; done

# ---- made, served, changed --------------------------------------------------------
rm -f asked
expect_exit 0 "$sealblk" create --size 4M --key-command "$give" new.seal
uuid=$("$sealblk" info --json new.seal | jq -r .uuid)
expect_equal "sealblk-key-1 purpose=new image=$uuid
sealblk-key-1 purpose=open image=$uuid" "$(cat asked)" "what the command was told"
expect_exit 0 "$sealblk" check --key-file key new.seal

rm asked
expect_exit 0 "$sealblk" key add --key-command "$give" --new-key-command "$give second" new.seal
expect_equal "sealblk-key-1 purpose=open image=$uuid key-ids=1
sealblk-key-1 purpose=new image=$uuid
sealblk-key-1 purpose=open image=$uuid" "$(cat asked)" "what the command was told"
expect_exit 0 "$sealblk" key export --output raw --key-command "$give second" new.seal
rm raw

# One command, each image: both are told.
rm asked
start_daemon --socket "$socket" --key-command "$give" --export a=new.seal --export b=image.seal
id=$("$sealblk" key list --json new.seal | jq -r '[.key_slots[].key_id] | join(",")')
expect_equal "sealblk-key-1 purpose=open image=$uuid key-ids=$id
sealblk-key-1 purpose=open image=$("$sealblk" info --json image.seal | jq -r .uuid) key-ids=1" \
	"$(cat asked)" "what the command was told"
qemu-io -f raw -c 'write -P 5 0 64k' -c 'read -P 5 0 64k' "$(nbd_uri "$socket" a)"
# A key of a live image, changed.
expect_exit 0 "$sealblk" key rotate --key-command "$give" --new-key-command "$give second" image.seal
stop_daemon
expect_exit 4 "$sealblk" check --key-command "$give" image.seal
start_daemon --socket "$socket" --key-file key --key-command "$give second" image.seal \
	--export a=new.seal
qemu-io -f raw -c 'read -P 5 0 64k' "$(nbd_uri "$socket" a)"
stop_daemon
expect_exit 0 "$sealblk" key rotate --key-command "$give second" --new-key-file key image.seal
expect_exit 0 "$sealblk" encryption off --key-command "$give" image.seal
expect_exit 0 "$sealblk" check --repair --key-command "$give" image.seal
# Whoever starts us may ignore the end of children.
expect_exit 0 env --ignore-signal=CHLD "$sealblk" check --key-command "$give" image.seal
echo '- made, served, changed'

# ---- goes wrong -------------------------------------------------------------------
head -c 31 key >short
head -c 4097 /dev/urandom >long
: >empty
: >not-executable
echo '#!/nonexistent/shell' >no-interpreter
chmod +x no-interpreter
script fail <<-'END'
	#!/bin/sh
	echo 'the KMS says: no' >&2
	echo 'ask the security team' >&2
	exit 3
END
script fail-after-key <<-END
	#!/bin/sh
	cat "$TEST_DIR/key"
	exit 1
END
script die <<-'END'
	#!/bin/sh
	kill -TERM $$
END
script endless <<-'END'
	#!/bin/sh
	exec head -c 1G /dev/zero
END
script chatty <<-'END'
	#!/bin/sh
	yes 'no key here, and much to say' | head -c 1000000 >&2
	exit 1
END
script keep-open <<-END
	#!/bin/sh
	cat "$TEST_DIR/key"
	sleep 600 &
END
for program in "$sealblk check" "$sealblkd --socket $socket"; do
	read -ra words <<<"$program"
	# try PATTERN COMMAND
	try() {
		refuse "key command $TEST_DIR/$2: $1" timeout 20 "${words[@]}" \
			--key-command "$TEST_DIR/$2" image.seal
	}
	try 'a key has 32 to 4096 bytes, and it printed 31$' 'give short'
	try 'a key has 32 to 4096 bytes, and it printed 0$' 'give empty'
	try 'a key has 32 to 4096 bytes, and it printed more$' 'give long'
	try 'a key has 32 to 4096 bytes, and it printed more$' endless
	try 'has failed with exit status 3, saying: the KMS says: no ask the security team$' fail
	try 'has failed with exit status 1$' fail-after-key
	try 'has failed with exit status 1, saying: .{200,310}$' chatty
	try 'was ended by signal 15$' die
	try 'has ended, but what it started keeps its standard output open$' keep-open
	try 'cannot be run: No such file or directory$' none
	try 'cannot be run: Permission denied$' not-executable
	try 'cannot be run: No such file or directory$' no-interpreter
	# Not this image's: as of any wrong key.
	expect_exit 4 "${words[@]}" --key-command "$give second" image.seal
	# A mistake of the command line.
	expect_exit 2 "${words[@]}" --key-command 'cat key' image.seal
	expect_output 'whole path, which begins with /'
	expect_exit 2 "${words[@]}" --key-command "/bin/cat 'key'" image.seal
	expect_output 'no shell reads it'
	expect_exit 2 "${words[@]}" --key-command '' image.seal
	expect_output 'names nothing'
done
[[ ! -e $socket ]] || fail "a socket was left"

# A key that is made up anew each time would open nothing.
script random <<-'END'
	#!/bin/sh
	exec head -c 64 /dev/urandom
END
script weak <<-'END'
	#!/bin/sh
	exec head -c 64 /dev/zero
END
before=$(digest image.seal)
refuse 'prints another key when it is asked again' \
	"$sealblk" create --size 4M --key-command "$TEST_DIR/random" never.seal
refuse 'prints another key when it is asked again' \
	"$sealblk" key rotate --key-file key --new-key-command "$TEST_DIR/random" image.seal
refuse 'is no key: all its bytes are the same' \
	"$sealblk" create --size 4M --key-command "$TEST_DIR/weak" never.seal
[[ ! -e never.seal ]] || fail "an image was made"
expect_equal "$before" "$(digest image.seal)" "digest of the image"
echo '- goes wrong'

# ---- ends with whoever wants the key ------------------------------------------------
script wait <<-END
	#!/bin/sh
	echo \$\$ >"$TEST_DIR/waiting"
	exec sleep 600
END
"$sealblkd" --socket "$socket" --key-command "$TEST_DIR/wait" image.seal >log 2>&1 &
daemon_pid=$! daemon_log=$TEST_DIR/log
own_pid "$daemon_pid"
wait_for 10 test -s waiting || fail "the command does not run"
kill_daemon
command_is_gone() {
	local state
	state=$(sed 's/.*) //; s/ .*//' "/proc/$(cat waiting)/stat" 2>/dev/null) || return 0
	[[ $state == Z ]]
}
wait_for 10 command_is_gone || fail "the command outlives the daemon"
echo '- ends with the daemon'

# ---- the example of the documentation ------------------------------------------------
mkdir credentials wrapped
echo s3cr3t-t0k3n >credentials/vault-token
"$SRC_DIR/tests/tools/fake_vault.py" s3cr3t-t0k3n >port &
own_pid $!
wait_for 10 test -s port || fail "the fake Vault does not serve"
export CREDENTIALS_DIRECTORY=$TEST_DIR/credentials
vault="$SRC_DIR/docs/examples/key-from-vault http://127.0.0.1:$(cat port) disks $TEST_DIR/wrapped"
expect_exit 0 "$sealblk" create --size 4M --key-command "$vault" vault.seal
expect_exit 0 "$sealblk" create --size 4M --key-command "$vault" vault2.seal
start_daemon --socket "$socket" --key-command "$vault" vault.seal --export two=vault2.seal
nbd_io "$socket" 'write -P 5 0 64k' flush 'read -P 5 0 64k'
stop_daemon
expect_equal 2 "$(find wrapped -name '*.wrapped' | wc -l)" "wrapped keys"
echo wrong >credentials/vault-token
refuse 'has failed with exit status [0-9]+, saying: curl: .*403' \
	"$sealblkd" --socket "$socket" --key-command "$vault" vault.seal
echo '- Vault'

# ---- those that hung ------------------------------------------------------------------
for pid in $hang1 $hang2 $hang3; do
	status=0
	wait "$pid" || status=$?
	disown_pid "$pid"
	expect_equal 1 "$status" "exit of what waits for a command that hangs"
done
((SECONDS - begin >= 29)) || fail "the deadline came after $((SECONDS - begin)) s"
for log in hang1 hang2 hang3; do
	cat $log
	expect_equal 1 "$(wc -l <$log)" "lines printed"
	grep -Eq 'has given no key within 30 s, and was ended, saying: waiting for /' $log ||
		fail "not said: a deadline"
done
