#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The sandbox of the daemon as it runs: every thread of it and its helper are in, it
# does all its work there, and what an intruder does in a worker is refused or ends it.
# tests/unit/sandbox/ tries the forbidden one by one.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io jq
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
make_key other
"$sealblk" create --size 16M --key-file key image.seal
echo '{"encryption": true}' >policy

start_daemon --verbose --workers 2 --socket "$socket" --key-file key --policy policy image.seal
! grep -q 'has no sandbox' "$daemon_log" || skip "a build with a sanitizer has no sandbox"

# status PID FIELD
status() {
	awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status"
}

# ---- who is in ---------------------------------------------------------------------------------
# A client of the control socket has a thread that is made within.
"$sealblk" events image.seal >followed 2>/dev/null &
own_pid $!
has_client() { (($(find "/proc/$daemon_pid/task" -mindepth 1 -maxdepth 1 | wc -l) >= 6)); }
wait_for 10 has_client || fail "main, three workers, control, a client: not six threads"
for task in /proc/"$daemon_pid"/task/*; do
	for set in CapInh CapPrm CapEff CapAmb; do
		expect_equal 0000000000000000 "$(status "$daemon_pid/task/${task##*/}" $set)" "$set of $task"
	done
	((EUID != 0)) || expect_equal 0000000000000000 "$(status "$daemon_pid/task/${task##*/}" CapBnd)" CapBnd
	expect_equal 2 "$(status "$daemon_pid/task/${task##*/}" Seccomp)" "seccomp of $task"
	expect_equal 1 "$(status "$daemon_pid/task/${task##*/}" NoNewPrivs)" "no_new_privs of $task"
done
read -ra helpers <<<"$(cat /proc/"$daemon_pid"/task/*/children)"
expect_equal 1 "${#helpers[@]}" "children"
expect_equal 2 "$(status "${helpers[0]}" Seccomp)" "seccomp of the helper"
expect_equal 1 "$(status "${helpers[0]}" NoNewPrivs)" "no_new_privs of the helper"
# What is left: CAP_DAC_READ_SEARCH, to read what root could.
case $(status "${helpers[0]}" CapPrm) in
000000000000000[04]) ;;
*) fail "the helper has capabilities" ;;
esac
grep -q 'debug: sandbox: [0-9]* system calls' "$daemon_log" || grep -q 'no Landlock' "$daemon_log" ||
	fail "the sandbox is not told of"
echo '- all in'

# ---- its work, all of which other tests look at closely -------------------------------------------
nbd_io "$socket" 'write -P 1 0 8M' 'write -z 1M 64k' 'discard 2M 64k' flush 'read -P 1 4M 1M'
"$sealblk" encryption off image.seal
echo '{"encryption": true, "exports": []}' >policy
kill -HUP "$daemon_pid"
wait_for 10 grep -q 'read again: encryption on, 1 switched, 0 failed' "$daemon_log" ||
	fail "the policy was not read again"
"$sealblk" rekey --progress=never --key-file key image.seal
"$sealblk" key add --key-file key --new-key-file other image.seal
"$sealblk" key revoke image.seal
"$sealblk" key restore --key-file other image.seal
nbd_io "$socket" 'read -P 1 4M 1M' 'write -P 2 0 64k' flush
expect_equal true "$("$sealblk" info --json image.seal | jq .server_encrypted)" server_encrypted
stop_daemon
[[ ! -e $socket ]] || fail "the socket is left"
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'read -P 2 0 64k' 'read -P 1 4M 1M' 'write -P 3 0 64k'
kill_daemon
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'read -P 3 0 64k'
stop_daemon
echo '- all done'

# A client whose address has an interface: libraries ask for its name in ways that are forbidden.
read -r link interface <<<"$(awk '$4 == "20" { gsub(/..../, "&:", $1); sub(/:$/, "", $1); print $1, $6; exit }' \
	/proc/net/if_inet6 2>/dev/null)" || true
if [[ $link ]]; then
	port=$((20000 + RANDOM % 10000))
	start_daemon --verbose --listen "[::]:$port" --insecure-tcp --key-file key image.seal
	"$python" - "$link%$interface" $port <<'PY'
import socket, sys
where = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), socket.AF_INET6, socket.SOCK_STREAM)[0][4]
with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as s:
    s.settimeout(10)
    s.connect(where)
    assert s.recv(8) == b"NBDMAGIC"
PY
	grep -qi 'conn 0 (fe80:.*%[0-9]* port [0-9]*): connected' "$daemon_log" || fail "the client's name"
	stop_daemon
	echo '- link-local'
fi

# ---- an intruder ------------------------------------------------------------------------------------
intruder=$BUILD_DIR/tests/intruder.so
[[ -e $intruder ]] || skip "needs $intruder"

# intrude HOW [ARGUMENT...]: serve, and wait for what the intruder says or for the end.
intrude() {
	local how=$1
	shift
	daemon_log=$(mktemp "$TEST_DIR/daemon.XXXXXX")
	INTRUDER=$how LD_PRELOAD=$intruder "$sealblkd" --socket "$socket" --key-file key "$@" image.seal \
		>"$daemon_log" 2>&1 </dev/null &
	daemon_pid=$!
	own_pid "$daemon_pid"
	over() { grep -q '^intruder: ' "$daemon_log" || ! kill -0 "$daemon_pid" 2>/dev/null; }
	wait_for 20 over || fail "$how was not tried"
}

# end_by STATUS: the daemon has ended so.
end_by() {
	local ended=0
	wait "$daemon_pid" || ended=$?
	disown_pid "$daemon_pid"
	expect_equal "$1" "$ended" "end of the daemon"
}

sigsys=$((128 + $(kill -l SYS)))
for how in socket exec ring; do
	intrude $how
	end_by $sigsys
	! grep -q '^intruder: ' "$daemon_log" || fail "$how came back"
done
start_daemon --socket "$socket" --key-file key image.seal
if ! grep -q 'no Landlock' "$daemon_log"; then
	stop_daemon
	for how in open make; do
		intrude $how
		grep -q "^intruder: $how: Permission denied" "$daemon_log" || fail "$how"
		stop_daemon
	done
	[[ ! -e intruded ]] || fail "a file was made"
else
	stop_daemon
fi
echo '- refused'

# ---- --no-sandbox: all that works -------------------------------------------------------------------
for how in open make socket ring; do
	intrude $how --no-sandbox
	grep -q "^intruder: $how: done" "$daemon_log" || fail "$how without a sandbox"
	grep -q 'warning: --no-sandbox' "$daemon_log" || fail "no warning"
	expect_equal 0 "$(status "$daemon_pid" Seccomp)" "seccomp without a sandbox"
	stop_daemon
done
intrude exec --no-sandbox
end_by 0
grep -q '^intruder: runs a program' "$daemon_log" || fail "exec without a sandbox"
"$sealblk" check image.seal --key-file key
echo '- without'
