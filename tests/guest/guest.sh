# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# What guest tests share, beside lib.sh, which comes first: virtual machines in
# QEMU without KVM. What takes long to make is kept in build/guest/, for builds
# with a sanitizer as well.
#
# A small guest is Debian's kernel with an initramfs (build-initramfs.sh), whose
# init runs a job: a script of busybox's shell in this folder.

PATH=$PATH:/usr/sbin:/sbin
# shellcheck source-path=SCRIPTDIR
. "$SRC_DIR/tests/guest/programs.sh"
guest_dir=$SRC_DIR/build/guest
guest_pid=	# of the guest started last
guest_log=	# its serial console
guest_programs=()	# what the next small guests have in /programs, beside what all of them have
guest_kernel=	# words for the kernel's command line
guest_files=()	# and in /job, beside the job

# is_newer FOLDER FILE...: than all these files of this folder.
is_newer() {
	local made=$1 file
	shift
	for file; do
		[[ $made -nt $SRC_DIR/tests/guest/$file ]] || return 1
	done
}

# keep NAME BUILDER SOURCE...: the folder build/guest/NAME, made by this folder's BUILDER if it
# is missing or older than that or a source. What the builder says when it gives up (exit 77) is
# why the test is skipped.
keep() {
	local made=$guest_dir/$1 builder=$SRC_DIR/tests/guest/$2 status=0
	mkdir -p "$guest_dir"
	(
		flock 9
		is_newer "$made" "${@:2}" && exit
		rm -rf "$made" "$made.new"
		mkdir "$made.new"
		"$builder" "$made.new" || exit
		mv "$made.new" "$made"
		touch "$made"
	) 9>"$guest_dir/$1.lock" >"$TEST_DIR/builder.log" 2>&1 || status=$?
	((status == 0)) || cat "$TEST_DIR/builder.log"
	((status == 77)) && exit 77
	((status == 0)) || fail "$2: exit $status"
}

# start_guest LOG ARGUMENT...: sets guest_pid and guest_log.
start_guest() {
	guest_log=$1
	shift
	need qemu-system-x86_64
	: >"$guest_log"
	qemu-system-x86_64 -accel tcg -cpu max -no-user-config -nodefaults -display none \
		-no-reboot -device virtio-rng-pci -serial "file:$guest_log" "$@" </dev/null &
	guest_pid=$!
	own_pid "$guest_pid"
}

is_gone() {
	! kill -0 "$1" 2>/dev/null
}

# wait_guest PID LOG SECONDS: until it has switched itself off.
wait_guest() {
	local status=0
	wait_for "$3" is_gone "$1" || { tr -d '\r' <"$2"; fail "the guest still runs after $3 s"; }
	wait "$1" || status=$?
	disown_pid "$1"
	((status == 0)) || fail "QEMU ended with $status"
}

# job_value LOG NAME: what the job printed as "NAME=value".
job_value() {
	tr -d '\r' <"$1" | sed -n "s/^$2=//p"
}

# start_job JOB "NAME=VALUE ..." ARGUMENT...: a small guest, which runs JOB (a script of this folder,
# or an absolute path) with these variables; sets guest_pid and guest_log.
start_job() {
	local job=$1 variables=$2 files=$TEST_DIR/job
	shift 2
	keep initramfs build-initramfs.sh programs.sh
	rm -rf "$files"
	mkdir -p "$files/job"
	copy_programs "$files" "${guest_programs[@]}"
	cp "$SRC_DIR/tests/guest/init.sh" "$files/init"
	[[ $job == /* ]] || job=$SRC_DIR/tests/guest/$job
	cp "$job" "$files/job/run"
	((${#guest_files[@]} == 0)) || cp "${guest_files[@]}" "$files/job/"
	chmod +x "$files/init" "$files/job/"*
	(umask 077 && tr ' ' '\n' <<<"$variables" >"$files/job/variables")
	(cd "$files" && find . | cpio -o -H newc --quiet) |
		cat "$guest_dir/initramfs/initramfs.cpio" - >"$TEST_DIR/initramfs.cpio"
	start_guest "$TEST_DIR/console" -m 256 -kernel "$guest_dir/initramfs/vmlinuz" \
		-initrd "$TEST_DIR/initramfs.cpio" \
		-append 'console=ttyS0 quiet panic=-1 cryptomgr.notests mitigations=off'" $guest_kernel" "$@"
}

# finish_job SECONDS: waits for its end, and wants it to have succeeded.
finish_job() {
	wait_guest "$guest_pid" "$guest_log" "$1"
	tr -d '\r' <"$guest_log"
	expect_equal 0 "$(job_value "$guest_log" exit)" "exit of the job in the guest"
}

# run_job JOB SECONDS "NAME=VALUE ..." ARGUMENT...: both; its console is $guest_log.
run_job() {
	local seconds=$2
	start_job "$1" "${@:3}"
	finish_job "$seconds"
}
