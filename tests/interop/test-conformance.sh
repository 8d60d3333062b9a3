#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The NBD protocol's demands, one check each: see conformance.py.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

cd "$TEST_DIR"
make_key key
"$BUILD_DIR/tests/mkvhd" --size 128M base.vhd
"$sealblk" create --base base.vhd --key-file key first.seal
"$sealblk" create --size 64M --key-file key second.seal
"$sealblk" create --size 8G --key-file key big.seal
port=$("$python" -c '
import socket
s = socket.socket()
s.bind(("127.0.0.1", 0))
print(s.getsockname()[1])')
start_daemon --socket "$TEST_DIR/s" --listen "127.0.0.1:$port" --key-file key --workers 2 \
	--export second=second.seal --export big=big.seal first.seal
"$python" "$SRC_DIR/tests/interop/conformance.py" "$TEST_DIR/s" "127.0.0.1:$port" "$daemon_pid"
stop_daemon
