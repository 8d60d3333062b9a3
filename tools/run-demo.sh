#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What sealblk does, shown with ordinary NBD clients (`make run`): an encrypted
# disk over a base that stays as it is. Works in a folder of its own, removes it,
# and fails when any step does.
set -euo pipefail

build_dir=$(realpath "${BUILD_DIR:-$(dirname "$0")/../build}")
for program in sealblk sealblkd tests/mkvhd; do
	[[ -x $build_dir/$program ]] || { echo "demo: $build_dir/$program is missing: run make" >&2; exit 1; }
done
PATH=$build_dir:$build_dir/tests:$PATH

demo_dir=$(mktemp -d /tmp/sealblk-demo.XXXXXX)
cd "$demo_dir"
# The daemon of an ordinary user keeps its runtime files here.
export XDG_RUNTIME_DIR=$demo_dir
daemon_pid=

finish() {
	local status=$?
	trap - EXIT
	if [[ $daemon_pid ]]; then
		kill -KILL "$daemon_pid" 2>/dev/null || true
		wait "$daemon_pid" 2>/dev/null || true
	fi
	if ((status != 0)); then
		echo "demo: failed" >&2
		[[ ! -s daemon.log ]] || sed 's/^/demo: the daemon printed: /' daemon.log >&2
	fi
	rm -rf "$demo_dir"
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
	echo "demo: $*" >&2
	exit 1
}

say() {
	printf '\n%s\n' "$*"
}

# The command as one would type it, then what it does.
show() {
	printf '  $ %s\n' "$1"
	eval "$1" | sed '/ ops; /d; s/^/    /'
}

say 'A base: a fixed VHD, like a disk from a marketplace. It is shared and must never change.'
show 'mkvhd --size 64M base.vhd'
show 'sha256sum base.vhd'
before=$(sha256sum base.vhd)

say 'A key, and an encrypted disk over the base. The image is small: it only holds what gets written.'
show '(umask 077; head -c 64 /dev/urandom >key)'
show 'sealblk create --base base.vhd --key-file key disk.seal'
show 'du -h --apparent-size base.vhd | cut -f1; du -h disk.seal | cut -f1'

say 'The daemon serves the disk to any NBD client.'
printf '  $ %s\n' 'sealblkd --socket ./nbd --key-file key disk.seal &'
sealblkd --socket ./nbd --key-file key disk.seal >daemon.log 2>&1 </dev/null &
daemon_pid=$!
for ((i = 0; i < 200; i++)); do
	grep -q ready daemon.log && break
	kill -0 "$daemon_pid" 2>/dev/null || fail 'the daemon did not start'
	sleep 0.05
done
grep -q ready daemon.log || fail 'the daemon is not ready after 10 s'
sed 's/^/    /' daemon.log
uri="nbd+unix:///?socket=$demo_dir/nbd"
printf '  $ uri=%s\n' "$uri"

say 'A client reads what the base has there: data in sector 1, a hole in sector 2048.'
# shellcheck disable=SC2016  # shown as it would be typed
{
	show 'qemu-io -f raw -c "read -v 512 48" "$uri"'
	show 'qemu-io -f raw -c "read -P 0 1M 512" "$uri"'
}
nbdcopy "$uri" before.raw
cmp -n "$(stat -c %s before.raw)" before.raw base.vhd || fail 'the disk does not read as its base'

say 'It writes 2 MiB of a text that is easy to find again, and reads it back.'
yes 'this text is a secret' | head -c 2M >secret || true
# shellcheck disable=SC2016
{
	show 'qemu-io -f raw -c "write -s secret 4M 2M" -c flush "$uri"'
	show 'qemu-io -f raw -c "read -v 4M 48" "$uri"'
}
nbdcopy "$uri" after.raw
cmp -n 2097152 -i 4194304:0 after.raw secret || fail 'the text does not come back'

say 'What is encrypted? Any client may ask: 0 base, 1 zero, 2 plain, 3 sealed.'
# shellcheck disable=SC2016
show 'nbdinfo --map=x-sealblk:encryption "$uri" | sed -n 1,8p'
show 'sealblk info disk.seal'

say 'The daemon ends cleanly on SIGTERM.'
printf '  $ kill %%1; wait %%1\n'
kill -TERM "$daemon_pid"
status=0
wait "$daemon_pid" || status=$?
daemon_pid=
((status == 0)) || fail "the daemon ended with $status"

say 'The text is nowhere in the image, and the base is what it was.'
show 'grep -c "this text is a secret" secret'
show 'grep -a -c "this text is a secret" disk.seal || true'
grep -aq 'this text is a secret' disk.seal && fail 'the text is in the image'
show 'sha256sum base.vhd'
[[ $before == "$(sha256sum base.vhd)" ]] || fail 'the base has changed'

say 'demo: all steps succeeded'
