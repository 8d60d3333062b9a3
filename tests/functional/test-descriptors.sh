#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A daemon started with its standard descriptors closed does not print into an
# image; one that runs out of descriptors waits quietly until some come free.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io python3
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
"$sealblk" create --size 4M --key-file key image.seal

# ---- nothing open -----------------------------------------------------------------------
"$sealblkd" --verbose --socket "$socket" --key-file key image.seal <&- >&- 2>&- &
daemon_pid=$!
own_pid "$daemon_pid"
wait_for 10 test -S "$socket" || fail "the daemon does not serve"
nbd_io "$socket" 'write -P 1 0 64k' 'read -P 1 0 64k'
# Only root sees the descriptors of a process that may not be dumped.
for fd in 0 1 2; do
	((EUID == 0)) || break
	expect_equal /dev/null "$(readlink "/proc/$daemon_pid/fd/$fd")" "descriptor $fd"
done
grep -aq 'sealblkd:' image.seal && fail "messages are in the image"
stop_daemon
start_daemon --socket "$socket" --key-file key image.seal
grep -Eq 'damaged|recover' "$daemon_log" && fail "the image was hurt"
nbd_io "$socket" 'read -P 1 0 64k'
stop_daemon
echo '- standard descriptors closed'

# ---- nor does the tool ---------------------------------------------------------------------
status=0
"$sealblk" create --size 4M --key-file key closed.seal <&- >&- 2>&- || status=$?
expect_equal 1 "$status" "exit when what was done cannot be said"
grep -aq 'created closed' closed.seal && fail "messages are in the image"
expect_exit 0 "$sealblk" check --key-file key closed.seal
echo '- nor into one that is being made'

# ---- a soft limit is raised ---------------------------------------------------------------
(
	ulimit -Sn 40
	exec "$sealblkd" --socket "$socket" --key-file key image.seal
) >log 2>&1 &
daemon_pid=$! daemon_log=$TEST_DIR/log
own_pid "$daemon_pid"
wait_for 10 grep -q ready log || fail "the daemon does not serve"
! grep 'hard limit' log || fail "there is nothing to raise"
limit=$(awk '/^Max open files/ { print $4 }' "/proc/$daemon_pid/limits")
((limit > 1024)) || fail "still $limit open files"
stop_daemon
echo '- a soft limit is raised'

# ---- too few ----------------------------------------------------------------------------
# Takes connections until none is answered, says so, and keeps them until its input ends.
cat >hoard.py <<'PY'
import socket, sys
held = []
for _ in range(60):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(0.5)
    client.connect(sys.argv[1])
    held.append(client)
    try:
        client.recv(18)
    except socket.timeout:
        break
print("full" if len(held) < 60 else "not full", flush=True)
sys.stdin.read()
PY

(
	ulimit -n 40
	exec "$sealblkd" --socket "$socket" --key-file key image.seal
) >log 2>&1 &
daemon_pid=$! daemon_log=$TEST_DIR/log
own_pid "$daemon_pid"
wait_for 10 grep -q ready log || fail "the daemon does not serve"
grep -Eq '1 exports and 1024 connections may need 1[0-9]{3} open files, and the hard limit is 40: raise it \(LimitNOFILE=' \
	log || fail "not said: the limit is too low"
mkfifo leave
python3 hoard.py "$socket" <leave >hoarded &
hoarder=$!
own_pid "$hoarder"
exec 3>leave
wait_for 20 grep -q full hoarded || fail "the hoarder does nothing"
expect_equal full "$(cat hoarded)"
before=$(wc -l <log)
sleep 0.5
(($(wc -l <log) <= before + 1)) || fail "the log runs full"
grep -q 'accept failed: Too many open files' log || fail "not said: too many open files"
exec 3>&-
wait "$hoarder"
disown_pid "$hoarder"
nbd_io "$socket" 'read -P 1 0 64k'
stop_daemon
echo '- too few descriptors'
