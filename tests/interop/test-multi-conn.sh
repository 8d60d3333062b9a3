#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# CAN_MULTI_CONN is advertised: what one connection has written, others see, and
# a flush on any of them covers it.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need_libnbd
cd "$TEST_DIR"
socket=$TEST_DIR/s
runtime=$XDG_RUNTIME_DIR/sealblk
((EUID == 0)) && runtime=/run/sealblk
need jq
make_key key
"$sealblk" create --size 64M --key-file key image.seal
uuid=$("$sealblk" info --json image.seal | jq -r .uuid)

# More workers than processors, so that the connections surely live on several.
start_daemon --workers 4 --socket "$socket" --key-file key image.seal
"$SRC_DIR/tests/interop/multi_conn.py" "$socket" write

# What the flush on another connection covered needs no dirty file.
kill_daemon
rm "$runtime/$uuid".*.dirty
start_daemon --accept-loss --socket "$socket" --key-file key image.seal
"$SRC_DIR/tests/interop/multi_conn.py" "$socket" check
stop_daemon
