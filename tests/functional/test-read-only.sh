#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# --read-only: clients see a disk they cannot change, every command that would
# answers EPERM, and neither the image nor the runtime directory is written to.
# An image that needs recovery is not taken.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io nbdinfo nbdcopy jq
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
"$BUILD_DIR/tests/mkvhd" --size 8M base.vhd
"$sealblk" create --base base.vhd --key-file key image.seal
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'write -P 7 1M 64k' 'discard 2M 64k'
nbdcopy "$(nbd_uri "$socket")" before.raw
stop_daemon
before=$(digest image.seal)

# Of the owner, root or not: what is opened for reading only cannot be written.
chmod 400 image.seal
start_daemon --socket "$socket" --key-file key --read-only image.seal
nbdinfo --json "$(nbd_uri "$socket")" >info.json
expect_equal 'true false false false true' \
	"$(jq -r '.exports[0] | "\(.is_read_only) \(.can_trim) \(.can_zero) \(.can_fast_zero) \(.can_multi_conn)"' info.json)" \
	"flags"
nbdcopy "$(nbd_uri "$socket")" after.raw
expect_same before.raw after.raw
expect_equal sealed "$("$sealblk" map --json image.seal | jq -r '.extents[] | select(.offset_bytes == 1048576) | .state')" "state"

cat >probe.py <<'END'
import os, sys
sys.path.insert(0, os.environ["SRC_DIR"] + "/tests/tools")
from raw_nbd import *
client = Client(sys.argv[1], go="")
for name, command, payload in ("WRITE", WRITE, bytes(512)), ("TRIM", TRIM, None), ("ZEROES", ZEROES, None):
    for flags in 0, 1:  # and with FUA
        error = client.do(command, 1 << 20, 512, flags=flags, payload=payload).error
        assert error == EPERM, "%s: %d" % (name, error)
    # Also where nothing would change, and past the end.
    for offset, length in ((0, 0), (8 << 20, 512)):
        error = client.do(command, offset, length, payload=payload and payload[:length]).error
        assert error == EPERM, "%s at %d: %d" % (name, offset, error)
for command, length in (READ, 512), (FLUSH, 0), (CACHE, 512):
    assert client.do(command, 0, length).error == 0
print("refused")
END
"$python" probe.py "$socket"

# Others may read it meanwhile, nobody may write it.
expect_exit 0 "$sealblk" check --key-file key image.seal
expect_exit 1 "$sealblkd" --socket "$TEST_DIR/other" --key-file key image.seal
expect_output 'error: image image\.seal: (in use|cannot be opened)'
stop_daemon
expect_equal "$before" "$(digest image.seal)" "digest of the image"
[[ -z $(find /run/sealblk "$XDG_RUNTIME_DIR" -name "$("$sealblk" info --json image.seal | jq -r .uuid)*.dirty" 2>/dev/null) ]] ||
	fail "a dirty file was made"

# Recovery would have to write.
chmod 600 image.seal
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'write -P 8 3M 64k'
kill_daemon
before=$(digest image.seal)
expect_exit 3 "$sealblkd" --socket "$socket" --key-file key --read-only image.seal
expect_output 'error: image image\.seal: was not closed: serve it once without --read-only'
expect_equal "$before" "$(digest image.seal)" "digest of the image that was refused"
start_daemon --socket "$socket" --key-file key image.seal
stop_daemon
start_daemon --socket "$socket" --key-file key --read-only image.seal
qemu-io -f raw -r -c 'read -P 8 3M 64k' "$(nbd_uri "$socket")"
stop_daemon

expect_exit 2 "$sealblkd" --socket "$socket" --key-file key --read-only --accept-loss image.seal
expect_output 'see sealblkd --help'
