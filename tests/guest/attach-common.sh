# SPDX-License-Identifier: MIT
# shellcheck shell=dash
#
# What the jobs of attach tests share; it lies beside the job in the guest. Not busybox's applets
# but the real programs are called by path.
# shellcheck disable=SC2034  # used by the jobs
sealblk=/programs/sealblk
cd /tmp || exit
head -c 64 /dev/urandom >key
head -c 64 /dev/urandom >wrong

fail() {
	echo "failed: $*"
	exit 1
}

# try STATUS COMMAND...: its output goes to the file "said", and nowhere else.
try() {
	local wanted=$1 status=0
	shift
	"$@" >said 2>&1 || status=$?
	[ $status = "$wanted" ] || fail "exit $status, not $wanted: $*: $(cat said)"
}

# said PATTERN: the last try printed one line, like this.
said() {
	if [ "$(wc -l <said)" != 1 ] || ! grep -Eq "$1" said; then
		fail "not '$1' but: $(cat said)"
	fi
}

# no_daemon_left: none that attach has started, and nothing of its.
no_daemon_left() {
	! pidof sealblkd >/dev/null || fail "a daemon is left"
	[ -z "$(ls /run/sealblk/attach)" ] || fail "left: $(ls -R /run/sealblk/attach)"
}

# kill_daemons: like a crash, with their helpers.
kill_daemons() {
	# shellcheck disable=SC2046
	kill -9 $(pidof sealblkd)
	while pidof sealblkd >/dev/null; do sleep 0.1; done
}

uptime_s() {
	cut -d. -f1 /proc/uptime
}

# no_leak: the daemon has no file that is attach's.
no_leak() {
	local pid file nr=0
	for pid in $(pidof sealblkd); do
		for file in /proc/"$pid"/fd/*; do
			case $(readlink "$file") in
			/dev/mapper/*) fail "inherited by a daemon" ;;
			?*) nr=$((nr + 1)) ;;
			esac
		done
	done
	[ $nr -gt 0 ] || fail "no file of a daemon was looked at"
}
