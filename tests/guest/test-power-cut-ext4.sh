#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Power cuts under a daemon whose images lie on ext4, with XFS in one of the
# images: see power-cut.sh.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/power-cut.sh"

power_cut ext4 xfs "$@"
