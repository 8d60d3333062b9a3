#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Who has not chosen an export 10 s after connecting is disconnected.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

cd "$TEST_DIR"
make_key key
"$sealblk" create --size 128M --key-file key image.seal
start_daemon --socket "$TEST_DIR/s" --key-file key image.seal
"$python" "$SRC_DIR/tests/tools/caps.py" deadline "$TEST_DIR/s"
expect_equal 4 "$(grep -c 'closed: no export chosen in 10 s' "$daemon_log")" "lines about it"
stop_daemon
