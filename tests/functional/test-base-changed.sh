#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A base that is no longer the one the image was made of: refused, naming what
# differs. A copy of it, elsewhere or in its place, is as good.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-img nbdcopy
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
make_base base.vhd fixed 8
cp --sparse=always base.vhd good.vhd
"$sealblk" create --base base.vhd --key-file key image.seal

# refuse EXIT PATTERN [IMAGE]
refuse() {
	local status=$1 pattern=$2 image=${3:-image.seal} before
	before=$(digest "$image")
	expect_exit "$status" timeout 20 "$sealblkd" --socket "$socket" --key-file key "$image"
	expect_equal 1 "$(wc -l <output)" "lines printed"
	expect_output "^sealblkd: error: .*$pattern"
	expect_equal "$before" "$(digest "$image")" "digest of the image"
}

serves() {
	start_daemon --socket "$socket" --key-file key "${1:-image.seal}"
	nbdcopy "$(nbd_uri "$socket")" read.raw
	cmp -n $((8 << 20)) good.vhd.raw read.raw
	stop_daemon
}
mv base.vhd.raw good.vhd.raw

# edit_footer PYTHON: changes the footer f, and keeps its checksum right.
edit_footer() {
	cp --sparse=always good.vhd base.vhd
	"$python" - "$1" <<'PY'
import sys
with open("base.vhd", "r+b") as file:
    file.seek(-512, 2)
    f = bytearray(file.read())
    exec(sys.argv[1])
    f[64:68] = bytes(4)
    f[64:68] = (~sum(f) & 0xffffffff).to_bytes(4, "big")
    file.seek(-512, 2)
    file.write(f)
PY
}

truncate -s +512 base.vhd
refuse 3 'base\.vhd: .*(size|footer)'
truncate -s -1M base.vhd
refuse 3 'base\.vhd: '
: >base.vhd
refuse 3 'base\.vhd: '
cp --sparse=always good.vhd base.vhd
flip_byte base.vhd 1000000
refuse 3 'base\.vhd: has changed: .*content'
cp --sparse=always good.vhd base.vhd
flip_byte base.vhd $(($(stat -c %s base.vhd) - 512 + 70))
refuse 3 'base\.vhd: '
edit_footer 'f[70] ^= 255'
refuse 3 'base\.vhd: has changed: VHD unique id'
edit_footer 'f[27] ^= 1'
refuse 3 'base\.vhd: has changed: VHD timestamp'
edit_footer 'f[84] = 1'
refuse 3 'base\.vhd: has changed: .*(footer|content)'
cp --sparse=always good.vhd base.vhd
serves
echo '- changed'

mv base.vhd away.vhd
refuse 1 'base .*base\.vhd is not there'
mkdir base.vhd
refuse 1 'base .*base\.vhd'
rmdir base.vhd
cp --sparse=always away.vhd base.vhd
serves
rm base.vhd
echo '- missing'

# Image and base moved together: found by the path from the image.
mkdir there
cp --sparse=always good.vhd there/base.vhd
mv image.seal there/
serves there/image.seal
mv there/base.vhd there/image.seal .
echo '- moved'

# Touched, but the same.
touch base.vhd
start_daemon --socket "$socket" --key-file key image.seal
stop_daemon

# A raw base is judged as well.
make_random raw.img 1000448
"$sealblk" create --base raw.img --key-file key raw.seal
flip_byte raw.img 512000
refuse 3 'raw\.img: has changed: .*content' raw.seal
flip_byte raw.img 512000
start_daemon --socket "$socket" --key-file key raw.seal
stop_daemon
echo '- raw'
