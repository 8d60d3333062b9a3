# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What tests of dm-sealblk share, beside guest.sh, which comes first.

shim_module=$SRC_DIR/build/shim/dm-sealblk.ko

# need_shim: the module goes to the next guest, as /job/dm-sealblk.ko. It must be of the guest's
# kernel.
need_shim() {
	local built wanted
	[[ -e $shim_module ]] || skip "needs dm-sealblk.ko: make shim"
	need modinfo
	keep initramfs build-initramfs.sh programs.sh
	# shellcheck disable=SC2154  # guest_dir is guest.sh's
	wanted=$(cat "$guest_dir/initramfs/version")
	built=$(modinfo -F vermagic "$shim_module")
	[[ ${built%% *} == "$wanted" ]] ||
		skip "dm-sealblk.ko is for ${built%% *}: needs the headers of $wanted"
	guest_files+=("$shim_module")
}
