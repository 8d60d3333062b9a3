#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk export: the decrypted disk of an image, as Azure takes it; over an unmodified base, that.
. "$(dirname "$0")/../lib.sh"
need qemu-img qemu-io jq strace
cd "$TEST_DIR"
umask 077
socket=$TEST_DIR/s
mkvhdlayer=$BUILD_DIR/tests/mkvhdlayer
make_key key
make_key other

# accepted FILE: it keeps Azure's five rules.
accepted() {
	"$sealblk" vhd info --json "$1" | jq -e .azure.accepted >/dev/null || fail "$1 would be refused"
}

# footer FILE MEMBER
footer() {
	"$sealblk" vhd info --json "$1" | jq -c ".footer.$2"
}

no_part() {
	[[ ! -e $1.part && ! -e $1.part.json ]] || fail "something is left of $1"
}

export_image() {
	expect_exit 0 "$sealblk" export --force --key-file key "$@"
}

# ---- over a base ----

make_base base.vhd fixed 24
before=$(digest base.vhd)
"$sealblk" create --base base.vhd --key-file key image.seal
image_before=$(digest image.seal)
export_image image.seal out.vhd
expect_output '^exported image.seal to out.vhd: fixed VHD, disk of 24 MiB'
expect_same base.vhd out.vhd
accepted out.vhd
expect_equal "$image_before" "$(digest image.seal)" "the image, which is only read"
expect_equal 600 "$(stat -c %a out.vhd)" "mode of what was decrypted"
no_part out.vhd

start_daemon --socket "$socket" --key-file key image.seal
cp base.vhd.raw model.raw
for io in "write -P 0x5a 1M 64k" "write -z 3M 1M" "write -P 0x11 20M 512"; do
	nbd_io "$socket" "$io"
	qemu-io -f raw -c "$io" model.raw >/dev/null
done
# Served: the daemon reads it out, and needs no key for that (test-export-live.sh).
expect_exit 0 "$sealblk" export image.seal served.vhd
stop_daemon
export_image image.seal out.vhd
qemu-img compare -q -f vpc -F raw out.vhd model.raw
expect_same out.vhd served.vhd
accepted out.vhd
for member in uuid created_time original_bytes; do
	expect_equal "$(footer base.vhd $member)" "$(footer out.vhd $member)" "$member"
done
expect_equal '"win"' "$(footer out.vhd creator)"
export_image --format vhd-dynamic image.seal out-dynamic.vhd
qemu-img compare -q -f vpc -F raw out-dynamic.vhd model.raw
expect_equal "$(footer base.vhd uuid)" "$(footer out-dynamic.vhd uuid)"
export_image image.seal out.raw
expect_same model.raw out.raw
# Zeros and holes are not stored.
(($(stat -c %b out.raw) * 512 < 13 * 1024 * 1024)) || fail "out.raw is not sparse"
expect_equal "$before" "$(digest base.vhd)"

# A base that Azure would refuse is exported as it is, and that is said.
make_base tiny.vhd fixed 4
"$sealblk" create --base tiny.vhd --key-file key tiny.seal
export_image tiny.seal tiny-out.vhd
expect_output 'tiny-out.vhd is the unmodified base, byte for byte, which Azure does not take'
expect_same tiny.vhd tiny-out.vhd

# ... a larger disk than its base is not the base's.
"$sealblk" create --base base.vhd --size 30M --key-file key larger.seal
export_image larger.seal larger.vhd
accepted larger.vhd
expect_equal $((30 << 20)) "$(footer larger.vhd current_bytes)"
expect_equal "$(footer base.vhd uuid)" "$(footer larger.vhd uuid)"

# Over a chain.
"$mkvhdlayer" --size $((24 << 20)) --seed 1 parent.vhd chain.raw
"$mkvhdlayer" --size $((24 << 20)) --seed 2 --parent parent.vhd child.vhd chain.raw
"$sealblk" create --base child.vhd --key-file key chain.seal
export_image chain.seal chain.vhd
qemu-img compare -q -f vpc -F raw chain.vhd chain.raw
accepted chain.vhd
expect_equal "$(footer child.vhd uuid)" "$(footer chain.vhd uuid)"

# ---- without a base ----

"$sealblk" create --size $((21 * 1024 * 1024 + 512)) --key-file key new.seal
export_image new.seal new.vhd
expect_output "padded with $((1024 * 1024 - 512)) bytes of zeros"
accepted new.vhd
expect_exit 0 "$sealblk" import base.vhd --key-file key imported.seal
export_image imported.seal imported.vhd
qemu-img compare -q -f vpc -F raw imported.vhd base.vhd.raw
expect_equal "$(footer base.vhd uuid)" "$(footer imported.vhd uuid)"

# ---- not closed ----

# Recovered first; what was flushed is there.
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" "write -P 0x77 5M 1M"
qemu-io -f raw -c "write -P 0x77 5M 1M" model.raw >/dev/null
kill_daemon
export_image image.seal out.raw
expect_same model.raw out.raw

# ---- refused ----

expect_exit 1 "$sealblk" export --key-file key image.seal out.raw
expect_output '^sealblk: destination out.raw: exists already; it was left as it is$'
expect_exit 4 "$sealblk" export --key-file other image.seal x.vhd
expect_exit 1 "$sealblk" export image.seal x.vhd
expect_output '^sealblk: image image.seal: is not being served: a key is needed'
expect_exit 1 "$sealblk" export --force --key-file key image.seal base.vhd
expect_output 'is the image itself, or its base'
expect_exit 1 "$sealblk" export --force --key-file key image.seal image.seal
expect_output 'is the image itself, or its base'
cp base.vhd kept.vhd
flip_byte base.vhd 5000
expect_exit 3 "$sealblk" export --key-file key image.seal x.vhd
expect_output '^sealblk: .*base'
mv kept.vhd base.vhd
no_part x.vhd

# ---- failures and interruptions ----

# with_fault FILE WHAT ARGUMENT...: sealblk, in which a call on FILE fails or a signal comes at one;
# each thread counts its own.
with_fault() {
	local file=$1 what=$2
	shift 2
	strace -f -qq -o /dev/null -P "$TEST_DIR/$file" -e "inject=$what" "$sealblk" "$@"
}
for fault in "x.vhd.part pwrite64:error=ENOSPC:when=2" "x.vhd.part fsync:error=EIO:when=1"; do
	# shellcheck disable=SC2086  # two words
	expect_exit 1 with_fault $fault export --key-file key image.seal x.vhd
	expect_output '^sealblk: destination x.vhd: cannot be written'
	expect_equal 1 "$(wc -l <output)" "lines for $fault"
	[[ ! -e x.vhd ]] || fail "x.vhd is there after $fault"
	no_part x.vhd
done
expect_exit 1 with_fault x.vhd.part pwrite64:signal=INT:when=1 export --key-file key image.seal x.vhd
expect_output 'interrupted at [0-9.]+% of the disk: this file is kept'
expect_exit 0 "$sealblk" export --json --key-file key image.seal x.vhd
jq -e '.verified_bytes > 0' output >/dev/null || fail "began anew"
qemu-img compare -q -f vpc -F raw x.vhd model.raw
accepted x.vhd
no_part x.vhd

# Written to since: begun anew.
rm x.vhd
expect_exit 1 with_fault x.vhd.part pwrite64:signal=INT:when=1 export --key-file key image.seal x.vhd
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" "write -P 0x33 0 1M"
qemu-io -f raw -c "write -P 0x33 0 1M" model.raw >/dev/null
stop_daemon
expect_exit 0 "$sealblk" export --key-file key image.seal x.vhd
expect_output 'begun anew'
qemu-img compare -q -f vpc -F raw x.vhd model.raw
