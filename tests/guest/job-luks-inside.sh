#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs in the small guest of test-luks-inside.sh: the guest encrypts for itself what is inside the
# served disk. $phase is the function to run, $pass the guest's own passphrase.
set -e
: "${port:?}" "${phase:?}" "${pass:?}"
export DM_DISABLE_UDEV=1 # it makes the nodes itself

ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
/programs/nbd-client 10.0.2.2 "$port" /dev/nbd0 -name disk

luks() {
	printf %s "$pass" | /programs/cryptsetup --key-file - "$@"
}

check_files() {
	(cd /mnt && sha256sum -c sums >/dev/null)
	grep -q 'GUEST PLAINTEXT' /mnt/text
}

write_files() {
	# The KDF is as cheap as can be: this processor is emulated.
	luks luksFormat -q --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 /dev/nbd0
	echo "uuid=$(/programs/cryptsetup luksUUID /dev/nbd0)"
	luks open /dev/nbd0 inside
	/programs/mke2fs -q -t ext4 -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 \
		/dev/mapper/inside
	mount -t ext4 /dev/mapper/inside /mnt
	yes 'GUEST PLAINTEXT' | head -c 2097152 >/mnt/text
	head -c 2000000 /dev/urandom >/mnt/noise
	(cd /mnt && sha256sum text noise >sums)
	sync
}

read_files() {
	if printf wrong | /programs/cryptsetup --key-file - open /dev/nbd0 inside; then
		echo 'a wrong passphrase opens it'
		return 1
	fi
	luks open --readonly /dev/nbd0 inside
	mount -t ext4 -o ro /dev/mapper/inside /mnt
}

"$phase"
check_files
# What the device mapper shows is the plaintext: the pattern can be found, where it is.
echo "found=$(grep -c 'GUEST PLAINTEXT' /dev/mapper/inside)"
echo "digest=$(sha256sum </mnt/noise | cut -d' ' -f1)"
umount /mnt
/programs/cryptsetup close inside
/programs/nbd-client -d /dev/nbd0
