#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The NBD protocol's extended headers, which few clients speak: see extended.py.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

cd "$TEST_DIR"
make_key key
"$BUILD_DIR/tests/mkvhd" --size 128M base.vhd
"$sealblk" create --base base.vhd --key-file key first.seal
"$sealblk" create --size 8G --key-file key big.seal
# As large as this file system's largest file lets it be: two planes have to fit.
for size in 32T 4T 1T; do
	"$sealblk" create --size "$size" --key-file key huge.seal && break
done
start_daemon --socket "$TEST_DIR/s" --key-file key --workers 2 \
	--export big=big.seal --export huge=huge.seal first.seal
"$python" "$SRC_DIR/tests/interop/extended.py" "$TEST_DIR/s"
stop_daemon
for image in first big huge; do
	"$sealblk" check "$image.seal"
done
