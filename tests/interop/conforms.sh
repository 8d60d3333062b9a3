# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# For tests that run nbd-conformance; after ../lib.sh.

need jq
conformance=("$python" "$SRC_DIR/tests/interop/nbd-conformance")

# result FILE COUNT: a number out of what --json printed.
result() {
	jq -r ".counts[\"$2\"]" "$1"
}

# broken FILE: the rows that are not ok.
broken() {
	jq -r '.rows[] | select(.result == "not ok") | "\(.id) (\(.level)): \(.why)"' "$1"
}

# conforms URI NAME: no row is not ok; the rows are in NAME.json.
conforms() {
	"${conformance[@]}" --strict --json "$1" >"$2.json" || {
		broken "$2.json"
		fail "$2: the rows above are not ok"
	}
	expect_equal 0 "$(result "$2.json" "not ok")" "$2: rows that are not ok"
}
