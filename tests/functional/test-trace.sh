#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblkd --trace: who may read the file and what is in it, a file that exists,
# and a full file system, which ends the trace and nothing else.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io python3
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
"$sealblk" create --size 16M --key-file key sealed.seal
"$sealblk" create --size 16M --key-file key --encryption off plain.seal

# A pattern that no ciphertext has, in the clear and as long as a sector.
pattern=$(printf 'Z%.0s' {1..512})
# has FILE: is the pattern somewhere in it?
has() {
	grep -aqF "$pattern" "$1"
}

# ---- what is in it ---------------------------------------------------------------------
umask 022
start_daemon --socket "$socket" --key-file key --trace trace --export a=sealed.seal --export b=plain.seal
grep -q 'warning: every write is recorded in trace' "$daemon_log" || fail "it is not said"
qemu-io -f raw -t writeback -c 'write -P 0x5a 0 64k' -c flush "$(nbd_uri "$socket" a)" >/dev/null
has trace && fail "plaintext of a sealed image is in the trace"
qemu-io -f raw -t writeback -c 'write -P 0x5a 0 64k' -c flush "$(nbd_uri "$socket" b)" >/dev/null
has trace || fail "what a plain image gets is not in the trace"
stop_daemon
expect_equal 600 "$(stat -c %a trace)" "mode of the trace"
grep -aq sealed.seal trace || fail "the trace does not name its image"
key_part=$(head -c 16 key | od -An -tx1 | tr -d ' \n')
! od -An -v -tx1 trace | tr -d ' \n' | grep -q "$key_part" || fail "the key is in the trace"

# ---- a file that exists, or cannot be made -----------------------------------------------
before=$(digest trace)
expect_exit 1 timeout 20 "$sealblkd" --socket "$socket" --key-file key --trace trace sealed.seal
expect_output 'error: --trace trace: cannot be made: File exists'
expect_equal "$before" "$(digest trace)" "digest of the trace"
expect_exit 1 timeout 20 "$sealblkd" --socket "$socket" --key-file key --trace none/trace sealed.seal
expect_output 'error: --trace none/trace: cannot be made: No such file'
expect_exit 2 timeout 20 "$sealblkd" --socket "$socket" --key-file key sealed.seal --trace
expect_output '--trace needs a value'

# ---- no room for more ----------------------------------------------------------------------
((EUID == 0)) || { echo "- a full file system needs root"; exit 0; }
mkdir small
mount -t tmpfs -o size=256K none small 2>/dev/null || { echo "- may not mount a tmpfs here"; exit 0; }
trap 'status=$?; set +e; umount "$TEST_DIR/small"; (exit $status); cleanup' EXIT
start_daemon --socket "$socket" --key-file key --trace small/trace sealed.seal
nbd_io "$socket" 'write -P 1 0 64k' flush 'write -P 2 1M 1M' flush 'write -P 3 4M 64k' flush
nbd_io "$socket" 'read -P 1 0 64k' 'read -P 2 1M 1M' 'read -P 3 4M 64k'
expect_equal 1 "$(grep -c 'the trace ends here: it cannot be written: No space' "$daemon_log")" \
	"lines about the end of the trace"
stop_daemon
(($(stat -c %s small/trace) > 64 << 10)) || fail "the trace has nothing of before"
"$python" - small/trace <<'PY' || fail "the trace does not end with a whole record"
import struct, sys
trace = open(sys.argv[1], "rb").read()
at = 64
while at < len(trace):
    assert trace[at:at + 4] == b"TREC"
    at += 64 + struct.unpack_from("<I", trace, at + 48)[0]
assert at == len(trace)
PY
"$sealblk" check --key-file key sealed.seal
umount small
trap cleanup EXIT
