#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Makes DIR/vmlinuz, Debian's stock kernel (DIR/version), and DIR/initramfs.cpio for small
# guests: busybox, modules, and this machine's nbd-client, dmsetup and ext4
# tools. Kernel and busybox come from their packages, which are not installed.
#
#   build-initramfs.sh DIR
#
# Exit 77 when something is missing; the last line printed says what.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/programs.sh"
modules="virtio_pci virtio_blk virtio_net virtio_rng nbd ext4 xfs crc32c_generic dm_crypt xts \
	aes_generic aesni_intel algif_skcipher tls gcm ghash_generic \
	chacha20poly1305 chacha_generic poly1305_generic"
programs="nbd-client dmsetup mke2fs e2fsck filefrag"

give_up() {
	echo "$*"
	exit 77
}

for tool in apt-get cpio depmod dpkg-deb modprobe $programs; do
	command -v "$tool" >/dev/null || give_up "needs $tool"
done
cd "$1"
work=$PWD/work
mkdir "$work" "$work/packages"

kernel_package() {
	apt-cache depends linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: *//p'
}

download() {
	local kernel
	kernel=$(kernel_package)
	[[ $kernel ]] && (cd packages && apt-get download -q "$kernel" busybox-static)
}

cd "$work"
# The lists of packages may be missing or old.
download || { ((EUID == 0)) && apt-get update -q && download; } ||
	give_up "cannot download Debian's linux-image-amd64 and busybox-static"
for package in packages/*.deb; do
	dpkg-deb -x "$package" unpacked
done
version=$(basename unpacked/lib/modules/*)
echo "$version" >../version
cp unpacked/boot/vmlinuz-* ../vmlinuz
chmod 644 ../vmlinuz
depmod -b unpacked "$version"

root=$work/root
mkdir -p "$root"/{bin,dev,etc,modules,proc,sys}
cp unpacked/bin/busybox "$root/bin/"
cp /etc/mke2fs.conf "$root/etc/"

# The modules, and what they need, in the order in which they load.
# shellcheck disable=SC2086
modprobe -C /dev/null -d unpacked -S "$version" -a --show-depends $modules |
	awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >files
xargs cp -t "$root/modules" <files
xargs -n 1 basename <files >"$root/modules/order"

# shellcheck disable=SC2086
copy_programs "$root" $programs

(cd "$root" && find . | cpio -o -H newc --quiet) >../initramfs.cpio
cd ..
rm -r "$work"
