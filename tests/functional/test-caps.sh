#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What one client may hold, and how many there may be: those who want more do not
# keep the others from being served.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
"$sealblk" create --size 128M --key-file key image.seal
caps=$SRC_DIR/tests/tools/caps.py

start_daemon --socket "$socket" --key-file key --workers 1 image.seal
"$python" "$caps" holes "$socket"
echo '- holes'

"$python" "$caps" share "$socket"
! grep warning "$daemon_log" | grep -v 'no sandbox' || fail "somebody was warned of"
echo '- share'

"$python" "$caps" stall "$socket"
stalled=$(grep -c 'closed: stalled for 10 s while others waited' "$daemon_log")
((stalled >= 2)) || fail "$stalled lines about those who stalled"
stop_daemon
echo '- stall'

for workers in 1 2; do
	start_daemon --socket "$socket" --key-file key --workers $workers image.seal
	"$python" "$caps" places "$socket" $((workers * 1024))
	# 50 were refused, on each worker 10 lines and later one about the others.
	refused=$(grep -c 'a connection was refused' "$daemon_log")
	((refused >= 1 && refused <= 10 * workers)) || fail "$refused lines about refused connections"
	stop_daemon
done
echo '- places'
