#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A rewrite comes to its end however much clients trim and write: it waits for the
# places that it has emptied, not for a moment at which nothing at all is left to punch.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need_libnbd
cd "$TEST_DIR"
make_key key
beside() {
	"$SRC_DIR/tests/tools/trims_beside.py" "$TEST_DIR/s" state 30 "$@" >said || { cat said; fail "$*"; }
	tail -n 1 said
}

"$sealblk" create --size 20M --encryption off --key-file key image.seal
start_daemon --socket "$TEST_DIR/s" --workers 2 --key-file key image.seal
/usr/bin/python3 -c "$(cat <<-PYTHON
	import nbd
	handle = nbd.NBD()
	handle.connect_unix("$TEST_DIR/s")
	for at in range(0, 20 << 20, 1 << 20):
	    handle.pwrite(bytes([1]) * (1 << 20), at)
PYTHON
)"
"$sealblk" encryption on image.seal
encrypt_s=$(beside "$sealblk" encrypt image.seal)
rm -f state
rekey_s=$(beside "$sealblk" rekey --key-file key image.seal)
stop_daemon
expect_exit 0 "$sealblk" check --key-file key image.seal
echo "figures: encrypt $encrypt_s s, rekey $rekey_s s"
