#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Makes sure that the Debian packages sealblk is built, tested and linted with
# are there: asks dpkg once, installs what is missing when root, and otherwise
# says what to type.
#
#   tools/setup.sh [bench]    bench: also those that only `make bench` needs
set -euo pipefail

build="gcc make pkg-config liburing-dev libssl-dev libaio-dev libjansson-dev libsystemd-dev libkeyutils-dev"
build+=" libp11-kit-dev libnl-3-dev libnl-genl-3-dev libdevmapper-dev"
check="libcriterion-dev libseccomp-dev e2fsprogs xfsprogs libnbd-bin libnbd-dev python3-libnbd qemu-utils fio jq xxd python3 strace nbdkit patch keyutils curl openssl"
check+=" softhsm2 opensc valgrind libvhdi-utils"
lint="clang clang-format clang-tidy cppcheck shellcheck gcovr"
guest="qemu-system-x86 cpio cryptsetup-bin dmsetup fdisk kmod mmdebstrap mtools nbd-client"
guest+=" syslinux syslinux-common"
shim="linux-headers-amd64 sparse"
bench="nbd-server"

case ${1:-} in
"") bench= ;;
bench) ;;
*) echo "setup: what is $1? Only \"bench\" may be asked for besides" >&2; exit 2 ;;
esac
read -ra wanted <<<"$build $check $lint $guest $shim $bench"

if ! command -v dpkg-query >/dev/null; then
	echo "setup: this is not a Debian system; sealblk needs: ${wanted[*]}" >&2
	exit 1
fi

# dpkg-query exits 1 when it does not know one of them; the others are listed all the same.
installed=" $(dpkg-query -W -f '${db:Status-Status}:${Package} ' "${wanted[@]}" 2>/dev/null || true)"
missing=()
for package in "${wanted[@]}"; do
	[[ $installed == *" installed:$package "* ]] || missing+=("$package")
done
((${#missing[@]})) || exit 0

if ((EUID != 0)); then
	echo "setup: packages are missing; install them with:" >&2
	echo "  sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
	exit 1
fi

echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}"
