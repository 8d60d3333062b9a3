#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Where a key must not be: the log, the command line and environment of the
# daemon, a core dump, another process's reach, the image.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io python3
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
make_key key
make_key printed
echo 'a passphrase to look for' >phrase
{
	"$sealblk" create --size 4M --key-file key image.seal
	"$sealblk" create --size 4M --passphrase-file phrase other.seal
	"$sealblk" create --size 4M --key-command "/bin/cat $TEST_DIR/printed" third.seal
	"$sealblk" info --json image.seal
} >tool.log

ulimit -c unlimited 2>/dev/null || true
start_daemon --verbose --socket "$socket" --key-file key --passphrase-file phrase image.seal \
	--key-command "/bin/cat $TEST_DIR/printed" --export other=other.seal --export third=third.seal
nbd_io "$socket" 'write -P 1 0 64k' flush

# The helper process has seen the keys as well.
pids=("$daemon_pid")
read -ra children <<<"$(cat /proc/"$daemon_pid"/task/*/children)"
pids+=("${children[@]}")

for pid in "${pids[@]}"; do
	expect_equal '0 0' "$(awk '/^Max core file size/ { print $5, $6 }' "/proc/$pid/limits")" \
		"core file limits of $pid"
	# What is not dumpable belongs to root in /proc, whoever runs it.
	expect_equal 0 "$(stat -c %u "/proc/$pid/mem")" "owner of /proc/$pid/mem"
	for name in cmdline environ; do
		cat "/proc/$pid/$name" >>seen 2>/dev/null || true
	done
	if ((EUID != 0)); then
		head -c 1 "/proc/$pid/mem" 2>/dev/null && fail "the memory of $pid is open"
		head -c 1 "/proc/$pid/environ" 2>/dev/null && fail "the environment of $pid is open"
	fi
done
((${#pids[@]} >= 1)) || fail "no processes"

# The key in raw, in hex and in base64; the passphrase; no derived forms are known outside.
holds_key() {
	python3 - "$@" <<'PY'
import base64, sys
phrase = open("phrase", "rb").readline().strip()
keys = [open(name, "rb").read() for name in ("key", "printed")]
forms = [key[i:i + 16] for key in keys for i in (0, 16, 32, 48)]
forms += [f.hex().encode() for f in forms] + [f.hex().upper().encode() for f in forms]
forms += [base64.b64encode(key)[:20] for key in keys] + [phrase]
for name in sys.argv[1:]:
    data = open(name, "rb").read()
    if any(form in data for form in forms):
        print("key found in", name)
        sys.exit(0)
sys.exit(1)
PY
}
for name in key printed; do
	holds_key $name >/dev/null || fail "the search finds nothing"
done
for when in served closed; do
	[[ $when == served ]] || stop_daemon
	holds_key seen tool.log "$daemon_log" image.seal other.seal third.seal && fail "a key leaked ($when)"
done

# A crash leaves no core file, though the shell would allow one.
start_daemon --socket "$socket" --key-file key image.seal
kill -ABRT "$daemon_pid"
wait "$daemon_pid" 2>/dev/null || true
disown_pid "$daemon_pid"
expect_equal '' "$(find . -name 'core*')" "core files"
