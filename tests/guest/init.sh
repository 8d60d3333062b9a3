#!/bin/busybox sh
# SPDX-License-Identifier: MIT
# shellcheck shell=dash
#
# The init of a small guest: loads the modules, runs /job/run with the variables
# of /job/variables, prints "exit=N" and switches the machine off.

/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /mnt /tmp /run
while read -r module; do
	# Some are for processors that this one is not.
	insmod "/modules/$module" 2>/dev/null || echo "(without $module)"
done </modules/order

set -a
# shellcheck disable=SC1091  # made by run_job
. /job/variables
set +a
/job/run
echo "exit=$?"
sync
poweroff -f
