#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A copy of an image whose daemon was killed is served, its losses accepted: what
# the original's dirty file remembers is still there for the original.
. "$(dirname "$0")/../lib.sh"

need qemu-io
cd "$TEST_DIR"
socket=$TEST_DIR/s
head -c 64 /dev/urandom >key
"$BUILD_DIR/sealblk" create --size 16M --key-file key disk.seal

start_daemon --socket "$socket" --key-file key disk.seal
nbd_io "$socket" 'write -P 1 0 64k' flush
nbd_io "$socket" 'write -P 2 1M 64k' # acknowledged, not flushed
kill_daemon
cp disk.seal copy.seal

expect_exit 3 timeout 20 "$BUILD_DIR/sealblkd" --socket "$socket" --key-file key copy.seal
start_daemon --socket "$socket" --accept-loss --key-file key copy.seal
nbd_io "$socket" 'read -P 1 0 64k' 'write -P 3 2M 64k' flush
stop_daemon

start_daemon --socket "$socket" --key-file key disk.seal
nbd_io "$socket" 'read -P 1 0 64k' 'read -P 2 1M 64k' 'read -P 0 2M 64k'
stop_daemon
expect_exit 0 "$BUILD_DIR/sealblk" check --key-file key disk.seal
dirty_files=$(find "$XDG_RUNTIME_DIR" /run/sealblk -name "$("$BUILD_DIR/sealblk" info --json disk.seal | jq -r .uuid)*.dirty" 2>/dev/null || true)
expect_equal "" "$dirty_files" "dirty files left behind"
