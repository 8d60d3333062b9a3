#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The dirty file in the runtime directory holds what was acknowledged and not
# flushed when a daemon is killed. Without it the image is refused, until
# somebody says --accept-loss.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need qemu-io jq python3
cd "$TEST_DIR"
socket=$TEST_DIR/s
runtime=$XDG_RUNTIME_DIR/sealblk
((EUID == 0)) && runtime=/run/sealblk
make_key key
"$sealblk" create --size 4M --key-file key image.seal
uuid=$("$sealblk" info --json image.seal | jq -r .uuid)

# 1 is flushed; 2 is acknowledged only: qemu-io ends itself before the flush at its end.
crash() {
	start_daemon --socket "$socket" --key-file key image.seal
	nbd_io "$socket" 'write -P 1 0 64k' flush
	qemu-io -f raw -t writeback -c 'write -P 2 1M 64k' -c 'sigraise 9' "$(nbd_uri "$socket")" \
		>>qemu-io.log || true
	kill_daemon
}

dirty_files() {
	find "$runtime" -name "$uuid.*.dirty"
}

refuse() {
	local before
	before=$(digest image.seal)
	expect_exit 3 timeout 20 "$sealblkd" --socket "$socket" --key-file key image.seal
	expect_equal 1 "$(wc -l <output)" "lines printed"
	expect_output "^sealblkd: error: image image.seal: .*$1.*--accept-loss"
	expect_equal "$before" "$(digest image.seal)" "digest of the image"
}

mode() {
	stat -c %a "$1"
}

crash
dirty=$(dirty_files)
[[ -f $dirty ]] || fail "no dirty file"
expect_equal 700 "$(mode "$runtime")" "mode of the runtime directory"
expect_equal 600 "$(mode "$dirty")" "mode of the dirty file"

# ---- away, too short, of another image, damaged: refused; back again: merged -----------
mv "$dirty" kept
refuse 'dirty file is missing'
head -c 4096 kept >"$dirty"
refuse 'dirty file'
head -c "$(stat -c %s kept)" /dev/zero >"$dirty"
refuse 'dirty file is not of this image'
for at in 8 40 100; do
	cp kept "$dirty"
	flip_byte "$dirty" "$at"
	refuse 'dirty file is not of this image'
done
mv kept "$dirty"
# Of a daemon that was killed before the superblock named it, and of another image.
orphan=$runtime/$uuid.01234567-89ab-cdef-0123-456789abcdef.dirty
other=$runtime/01234567-89ab-cdef-0123-456789abcdef${orphan#"$runtime/$uuid"}
touch "$orphan" "$other"
start_daemon --socket "$socket" --key-file key image.seal
expect_equal 1 "$(dirty_files | wc -l)" "dirty files of an image being served"
[[ ! -e $orphan ]] || fail "the orphan is the one that was kept"
rm "$other" || fail "the dirty file of another image was removed"
grep -Eq 'recovered, [1-9][0-9]* records merged' "$daemon_log" || fail "no records were merged"
nbd_io "$socket" 'read -P 1 0 64k' 'read -P 2 1M 64k' 'discard 1M 64k'
stop_daemon
expect_equal '' "$(dirty_files)" "dirty files of a closed image"
echo '- missing and found'

# ---- lost for good ---------------------------------------------------------------------
crash
rm "$(dirty_files)"
refuse 'dirty file is missing'
start_daemon --socket "$socket" --key-file key --accept-loss image.seal
nbd_io "$socket" 'read -P 1 0 64k' 'read -P 0 1M 64k' 'write -P 3 1M 64k'
stop_daemon
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'read -P 1 0 64k' 'read -P 3 1M 64k'
stop_daemon
echo '- lost'

# ---- no place for one -------------------------------------------------------------------
# in_mount OPTIONS WANTED: the runtime directory is a tmpfs of that kind, seen by that daemon only.
in_mount() {
	local before
	before=$(digest image.seal)
	# shellcheck disable=SC2016  # the inner shell's
	expect_exit 1 timeout 20 unshare --mount sh -c \
		'mount -t tmpfs -o "$1" none "$2" && shift 2 && exec "$@"' sh "$1" "$runtime" \
		"$sealblkd" --socket "$socket" --key-file key image.seal
	expect_equal 1 "$(wc -l <output)" "lines printed"
	expect_output "^sealblkd: error: image image.seal: .*$2"
	expect_equal "$before" "$(digest image.seal)" "digest of the image"
}
if ((EUID == 0)) && unshare --mount mount -t tmpfs none "$runtime" 2>/dev/null; then
	in_mount size=16k 'cannot make its dirty file.*No space left'
	in_mount nr_inodes=2 'cannot make its dirty file.*No space left'
	in_mount ro 'cannot lock its UUID in the runtime directory'
	echo '- full and read-only'

	# With room for the first records only, rounds come sooner: nothing else is different. With
	# more the file grows. crash_in OPTIONS KIB: the runtime directory is a tmpfs of that kind;
	# 3000 first writes, a crash, and all of them are there. The file had KIB at least.
	crash_in() {
		unshare --mount bash -s "$@" <<-'SH'
			. "$SRC_DIR/tests/lib.sh"
			cd "$TEST_DIR"
			runtime=$XDG_RUNTIME_DIR/sealblk
			((EUID == 0)) && runtime=/run/sealblk
			mount -t tmpfs -o "$1" none "$runtime"
			rm -f crowded.seal
			"$sealblk" create --size 1G --key-file key crowded.seal
			serve() { start_daemon --socket "$TEST_DIR/s" --key-file key --export 1=crowded.seal; }
			scale() { "$python" "$SRC_DIR/tests/tools/scale.py" "$1" "$TEST_DIR/s" 1 3000 0; }
			serve
			scale scatter
			kib=$(($(stat -c %b "$runtime"/*.dirty) / 2))
			kill_daemon
			((kib >= $2)) || fail "the dirty file has $kib KiB"
			# The next session's file lies beside it for a while.
			mount -o remount,size=4m "$runtime"
			serve
			grep -q 'was not closed; recovered' "$daemon_log" || fail "nothing was recovered"
			scale verify
			stop_daemon
			expect_exit 0 "$sealblk" check --key-file key crowded.seal
		SH
	}
	crash_in size=64k 36
	crash_in size=4m 64
	echo '- as full as can be, and growing'
fi

# ---- removed while it is in use: nobody notices, unless the daemon dies --------------------
start_daemon --socket "$socket" --key-file key image.seal
rm "$(dirty_files)"
nbd_io "$socket" 'write -P 5 2M 64k' flush
stop_daemon
start_daemon --socket "$socket" --key-file key image.seal
nbd_io "$socket" 'read -P 5 2M 64k'
stop_daemon
if ((EUID != 0)); then
	expect_exit 1 env -u XDG_RUNTIME_DIR "$sealblkd" --socket "$socket" --key-file key image.seal
	expect_output 'runtime directory .XDG_RUNTIME_DIR: is not set'
	expect_exit 1 env XDG_RUNTIME_DIR=/nowhere/else "$sealblkd" --socket "$socket" --key-file key \
		image.seal
	expect_output 'runtime directory /nowhere/else/sealblk: cannot be made'
	expect_equal 1 "$(wc -l <output)" "lines printed"
fi
