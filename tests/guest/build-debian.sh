#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Makes DIR/debian.vhd, a stand-in for a marketplace disk: Debian with systemd,
# its kernel and a boot loader, for a machine with a BIOS and a virtio disk, as
# a fixed VHD. Its unit marker.service runs debian-marker.sh and switches off.
#
#   build-debian.sh DIR
#
# Exit 77 when something is missing; the last line printed says what.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd)
mbr=/usr/lib/syslinux/mbr/mbr.bin
boot_mib=32
fake=

give_up() {
	echo "$*"
	exit 77
}

((EUID == 0)) || fake=fakeroot
for tool in $fake mcopy mformat mke2fs mmdebstrap qemu-img sfdisk syslinux; do
	command -v "$tool" >/dev/null || give_up "needs $tool"
done
[[ -e $mbr ]] || give_up "needs syslinux-common"
cd "$1"
work=$PWD/work
mkdir "$work"
cd "$work"

# ---- packages -------------------------------------------------------------------
# The initramfs with a virtio disk's modules only: a fourth of its size, which the BIOS reads.
mkdir -p initramfs-tools/conf.d
echo MODULES=list >initramfs-tools/conf.d/modules
printf '%s\n' virtio_pci virtio_blk ext4 >initramfs-tools/modules
printf 'path-exclude=/usr/share/%s/*\n' doc man locale >dpkg.cfg
mmdebstrap --quiet --variant=essential --include=systemd-sysv,udev,initramfs-tools,linux-image-cloud-amd64 \
	--dpkgopt="$work/dpkg.cfg" --aptopt='APT::Install-Recommends "false"' \
	--essential-hook="copy-in '$work/initramfs-tools' /etc" \
	bookworm debian.tar || give_up "mmdebstrap cannot make a Debian here"

# ---- what is ours ---------------------------------------------------------------
mkdir -p ours/etc/systemd/system/multi-user.target.wants ours/usr/local/sbin
install -m 755 "$here/debian-marker.sh" ours/usr/local/sbin/marker
echo debian >ours/etc/hostname
echo 'LABEL=debian / ext4 errors=remount-ro 0 1' >ours/etc/fstab
cat >ours/etc/systemd/system/marker.service <<-'END'
	[Unit]
	Description=Leave a marker on the disk, or look for it
	SuccessAction=poweroff
	FailureAction=poweroff

	[Service]
	Type=oneshot
	ExecStart=/usr/local/sbin/marker
END
ln -s ../marker.service ours/etc/systemd/system/multi-user.target.wants/
# Nobody logs in.
for unit in getty.target console-getty.service serial-getty@ttyS0.service e2scrub_reap.service \
	fstrim.timer e2scrub_all.timer dpkg-db-backup.timer; do
	ln -s /dev/null "ours/etc/systemd/system/$unit"
done

# ---- filesystems ----------------------------------------------------------------
tar --append -f debian.tar --owner=0 --group=0 -C ours .
mkdir root
# shellcheck disable=SC2016  # expanded by the shell inside
$fake sh -e -c '
	tar -xf debian.tar -C root --keep-directory-symlink
	mib=$(du -sm root | cut -f1)
	mke2fs -q -t ext4 -L debian -d root root.ext4 "$((mib + mib / 4 + 64))M"
'
mformat -C -i boot.fat -T $((boot_mib * 2048)) -H 2048 -v BOOT ::
syslinux --install boot.fat
cat >syslinux.cfg <<-'END'
	default debian
	label debian
		kernel vmlinuz
		initrd initrd.img
		append root=LABEL=debian ro console=ttyS0 quiet mitigations=off
END
mcopy -i boot.fat root/boot/vmlinuz-* ::vmlinuz
mcopy -i boot.fat root/boot/initrd.img-* ::initrd.img
mcopy -i boot.fat syslinux.cfg ::syslinux.cfg

# ---- the disk -------------------------------------------------------------------
# A MiB for the partition table and one at the end, since the VHD is whole MiBs.
truncate -s $(($(stat -c %s root.ext4) + ((boot_mib + 2) << 20))) disk.raw
sfdisk -q disk.raw <<-END
	label: dos
	start=2048, size=$((boot_mib * 2048)), type=c, bootable
	start=$(((boot_mib + 1) * 2048)), type=83
END
dd if=$mbr of=disk.raw bs=440 count=1 conv=notrunc status=none
dd if=boot.fat of=disk.raw bs=1M seek=1 conv=notrunc,sparse status=none
dd if=root.ext4 of=disk.raw bs=1M seek=$((boot_mib + 1)) conv=notrunc,sparse status=none
qemu-img convert -f raw -O vpc -o subformat=fixed,force_size=on disk.raw ../debian.vhd
cd ..
rm -r "$work"
