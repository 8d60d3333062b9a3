#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Power cuts under a daemon whose images lie on XFS, with ext4 in one of the
# images: see power-cut.sh.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/power-cut.sh"

power_cut xfs ext4 "$@"
