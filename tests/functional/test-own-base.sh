#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# A private VHD that becomes encrypted as it is rewritten (create --own-base): what has been
# superseded goes out of the file, and not before the rewrite is durable; nobody else takes it for a
# base any more, and images that were made of it before are refused.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq nbdcopy qemu-img qemu-io
cd "$TEST_DIR"
socket=$TEST_DIR/s
mib=$((1 << 20))
make_key key

# The line that is looked for, and its number, so that each sector differs.
yes 'the base in plain text' | awk '{ printf "%s %039d\n", $0, NR }' | head -c 8M >raw || true
make_vhd pristine.vhd fixed raw

# left_in FILE: sectors of it that still show the base's text.
left_in() {
	"$python" - "$1" <<'PY'
import sys
data = open(sys.argv[1], "rb").read()
print(sum(b"the base in plain text" in data[at:at + 512] for at in range(0, len(data), 512)))
PY
}

allocated() {
	du --block-size=1 "$1" | cut -f1
}

# adopt: base.vhd anew, and own.seal over it; what the disk is to read as is in "wanted".
adopt() {
	rm -f base.vhd own.seal
	cp pristine.vhd base.vhd
	cp raw wanted
	"$sealblk" create --base base.vhd --own-base --key-file key own.seal
}

# write AT BYTES: noise there, over NBD and in "wanted".
write() {
	make_random noise "$2"
	nbd_io "$socket" "write -s noise $1 $2"
	dd if=noise of=wanted bs=512 seek=$(($1 / 512)) conv=notrunc status=none
}

reads_right() {
	nbdcopy "$(nbd_uri "$socket")" read.raw
	expect_same wanted read.raw
}

is_swept() {
	[[ $(left_in base.vhd) == "$1" ]]
}

all_encrypted() {
	"$sealblk" info --json own.seal | jq -e .server_encrypted
}

# refuse STATUS PATTERN COMMAND...: one line, which says so.
refuse() {
	expect_exit "$1" timeout 20 "${@:3}"
	expect_equal 1 "$(wc -l <output)" "lines printed"
	expect_output "$2"
}

# ---- making one -----------------------------------------------------------------
cp pristine.vhd base.vhd
chmod 644 base.vhd
"$sealblk" create --base base.vhd --key-file key before.seal
expect_exit 0 "$sealblk" create --base base.vhd --own-base --key-file key own.seal
expect_output 'base base\.vhd \(vhd, 8 MiB, owned\), encryption on$'
cmp -n "$((8 * mib))" base.vhd raw || fail "adopting changed the disk"
info() {
	"$sealblk" info --json "$1" | jq -r "$2"
}
expect_equal true "$(info own.seal .base.owned)"
expect_equal false "$(info before.seal .base.owned)"
expect_equal "$(info own.seal .uuid)" "$(info own.seal .base.vhd_uuid)" "unique id of the base"
"$sealblk" vhd info base.vhd | grep -q 'checksum .*right' || fail "the footer's checksum is wrong"
expect_exit 0 "$sealblk" check --key-file key own.seal

# Nobody else's from here on, under whatever format.
for options in '--own-base' '' '--size 1G'; do
	# shellcheck disable=SC2086
	refuse 1 'base base\.vhd: belongs to an image already' \
		"$sealblk" create --base base.vhd $options --key-file key other.seal
done
refuse 1 'belongs to an image already' \
	"$sealblk" create --base base.vhd:raw --key-file key other.seal
refuse 3 'base .*base\.vhd: has changed: it belongs to another image now' \
	"$sealblkd" --socket "$socket" --key-file key before.seal
[[ ! -e other.seal ]] || fail "an image was made all the same"

# What cannot be owned.
refuse 2 '--own-base wants --base' "$sealblk" create --own-base --size 1M --key-file key other.seal
refuse 1 'base raw: cannot be owned: a raw file' \
	"$sealblk" create --base raw --own-base --key-file key other.seal
qemu-img convert -f raw -O vpc -o subformat=dynamic,force_size=on raw dynamic.vhd
before=$(digest dynamic.vhd)
refuse 1 'base dynamic\.vhd: cannot be owned: .*dynamic' \
	"$sealblk" create --base dynamic.vhd --own-base --key-file key other.seal
expect_equal "$before" "$(digest dynamic.vhd)" "digest of what cannot be owned"
cp pristine.vhd busy.vhd
"$sealblk" create --base busy.vhd --key-file key busy.seal
start_daemon --socket "$socket" --key-file key busy.seal
refuse 1 'base busy\.vhd: cannot be owned now: another program has it open' \
	"$sealblk" create --base busy.vhd --own-base --key-file key other.seal
stop_daemon
expect_same pristine.vhd busy.vhd
[[ ! -e other.seal ]] || fail "an image was made all the same"
# An image that cannot be made leaves the base as it was.
cp pristine.vhd fresh.vhd
refuse 1 'image own\.seal: exists already' \
	"$sealblk" create --base fresh.vhd --own-base --key-file key own.seal
refuse 1 'fresh\.vhd: .*cannot be recorded' \
	"$sealblk" create --base fresh.vhd --own-base --key-file key nowhere/other.seal
refuse 1 'image .*: cannot be created' \
	"$sealblk" create --base fresh.vhd --own-base --key-file key /proc/other.seal
expect_same pristine.vhd fresh.vhd
echo '- making one'

# ---- what is rewritten goes -----------------------------------------------------
adopt
start_daemon --socket "$socket" --key-file key own.seal
expect_equal $((8 * 2048)) "$(left_in base.vhd)" "sectors in the clear at first"
reads_right
expect_equal $((8 * 2048)) "$(left_in base.vhd)" "sectors in the clear after reading"
refuse 1 'base base\.vhd: another program has it open for writing' "$sealblk" create --base base.vhd --key-file key other.seal

# Single sectors, inside blocks of the file system, keep their neighbours.
write $((3 * 512)) 512
write $((1 * mib + 7 * 512)) $((2 * 512))
wait_for 20 is_swept $((8 * 2048 - 3)) || fail "three sectors are not gone: $(left_in base.vhd)"
reads_right
write $((2 * mib)) $((2 * mib))
nbd_io "$socket" "discard $((4 * mib)) $mib" "write -z $((5 * mib)) 64k" flush
dd if=/dev/zero of=wanted bs=64k seek=64 count=17 conv=notrunc status=none
wait_for 20 is_swept $((8 * 2048 - 3 - 3 * 2048 - 128)) || fail "not gone: $(left_in base.vhd)"
(($(allocated base.vhd) <= 6 * mib)) || fail "the base has not become smaller"
reads_right
stop_daemon
expect_exit 0 "$sealblk" check --key-file key own.seal
[[ $(info own.seal .server_encrypted) == false ]] || fail "it says that it is encrypted"
start_daemon --socket "$socket" --key-file key own.seal
reads_right
write 0 $((8 * mib))
wait_for 20 all_encrypted || fail "it does not say that it is all encrypted"
expect_equal 0 "$(left_in base.vhd)" "sectors in the clear when all is encrypted"
expect_equal 0 "$(left_in own.seal)" "sectors in the clear in the image"
reads_right
stop_daemon
expect_equal true "$(info own.seal .server_encrypted)"
(($(allocated base.vhd) <= 64 * 1024)) || fail "the base still takes $(allocated base.vhd) bytes"
expect_equal "$((8 * mib + 512))" "$(stat -c %s base.vhd)" "length of the base"
start_daemon --read-only --socket "$socket" --key-file key own.seal
reads_right
stop_daemon
# The VHD as it was at first, put back: the same goes once more.
cp pristine.vhd base.vhd
start_daemon --socket "$socket" --key-file key own.seal
expect_equal 0 "$(left_in base.vhd)" "sectors in the clear in a base put back"
reads_right
stop_daemon
expect_equal true "$(info own.seal .server_encrypted)"
expect_exit 0 "$sealblk" check --key-file key own.seal
echo '- what is rewritten goes'

# ---- where nothing can be punched, zeros are written ------------------------------
mkdir nopunch
if ((EUID == 0)) && mount -t ramfs none nopunch 2>/dev/null; then
	trap 'status=$?; set +e; kill -KILL "$daemon_pid" 2>/dev/null; wait "$daemon_pid" 2>/dev/null
		umount nopunch; (exit $status); cleanup' EXIT
	cp pristine.vhd nopunch/base.vhd
	cp raw wanted
	fallocate -p -o 0 -l 4096 nopunch/base.vhd 2>/dev/null && fail "ramfs can punch"
	"$sealblk" create --base nopunch/base.vhd --own-base --key-file key nopunch.seal
	start_daemon --socket "$socket" --key-file key nopunch.seal
	write $((5 * 512)) 512
	write $((2 * mib)) $((2 * mib))
	all_but_4097() {
		[[ $(left_in nopunch/base.vhd) == $((8 * 2048 - 4097)) ]]
	}
	wait_for 20 all_but_4097 || fail "not gone: $(left_in nopunch/base.vhd)"
	reads_right
	write 0 $((8 * mib))
	kill_daemon
	start_daemon --socket "$socket" --key-file key nopunch.seal
	expect_equal 0 "$(left_in nopunch/base.vhd)" "sectors in the clear after recovery"
	reads_right
	stop_daemon
	expect_equal true "$(info nopunch.seal .server_encrypted)"
	umount nopunch
	trap cleanup EXIT
	echo '- zeros'
else
	echo '- zeros: left out, needs root and ramfs'
fi

# ---- a crash between the image and the footer -----------------------------------
adopt
cp pristine.vhd base.vhd
start_daemon --read-only --socket "$socket" --key-file key own.seal
reads_right
stop_daemon
expect_same pristine.vhd base.vhd
start_daemon --socket "$socket" --key-file key own.seal
reads_right
stop_daemon
refuse 1 'belongs to an image already' \
	"$sealblk" create --base base.vhd --key-file key other.seal
# Changed before it was adopted: as with any base.
adopt
cp pristine.vhd base.vhd
flip_byte base.vhd $mib
refuse 3 'base .*base\.vhd: has changed: content differs' \
	"$sealblkd" --socket "$socket" --key-file key own.seal
cmp -s -n 512 -i $((8 * mib)) pristine.vhd base.vhd || fail "a changed base was adopted"
echo '- half adopted'

# ---- killed ---------------------------------------------------------------------
adopt
for _ in 1 2 3 4 5 6; do
	start_daemon --socket "$socket" --key-file key own.seal
	reads_right
	for _ in 1 2 3 4; do
		write $((RANDOM % 12000 * 512)) $(((1 + RANDOM % 4000) * 512))
	done
	sleep "0.$((RANDOM % 10))"
	kill_daemon
done
# A tool that recovers it punches as well.
"$sealblk" encryption on --key-file key own.seal >/dev/null
"$python" - <<'PY' || fail "superseded sectors are left in the base, or others are gone"
import sys
base, raw, wanted = (open(name, "rb").read() for name in ("base.vhd", "raw", "wanted"))
bad = 0
for at in range(0, len(raw), 512):
    kept = wanted[at:at + 512] == raw[at:at + 512]
    bad += base[at:at + 512] != (raw[at:at + 512] if kept else bytes(512))
sys.exit(bad > 0)
PY
start_daemon --socket "$socket" --key-file key own.seal
reads_right
stop_daemon
"$python" "$SRC_DIR/tests/tools/read_image.py" own.seal --key-file key --read 0 $((8 * 2048)) >read.raw
expect_same wanted read.raw
mv base.vhd away.vhd
refuse 1 'its base .*base\.vhd is not there' \
	"$sealblk" encryption off --key-file key own.seal
echo '- killed'
