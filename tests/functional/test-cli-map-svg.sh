#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# sealblk map --svg: a well-formed picture whose numbers are info's, whether it
# is drawn from the file or from a daemon, and which never harms another file.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need jq qemu-io python3
cd "$TEST_DIR"
socket=$TEST_DIR/s
make_key key
make_base base.vhd fixed 8
image='a&b <c>.seal'
"$sealblk" create --base base.vhd --size 64M --key-file key "$image"

# Prints what the picture says: name, server_encrypted, sectors by state; fails if it is no SVG,
# or if cells overlap, leave gaps or lie beyond the picture.
cat >read.py <<'PYTHON'
import re, sys
import xml.etree.ElementTree as tree

svg = tree.parse(sys.argv[1]).getroot()
assert svg.tag == "{http://www.w3.org/2000/svg}svg" and svg.get("version") == "1.1"
names = {e.tag.split("}")[1] for e in svg.iter()}
assert names <= {"svg", "title", "desc", "g", "rect", "path", "text"}, names
assert not any(key.startswith("on") or "href" in key for e in svg.iter() for key in e.attrib)
by_id = {e.get("id"): e for e in svg.iter() if e.get("id")}
print(by_id["image"].text)
print(by_id["server-encrypted"].text)
print(*(by_id["sectors-" + s].text.replace(",", "") for s in "base zero plain sealed".split()))

piece = re.compile(r"M(\d+) (\d+)h(\d+)v(\d+)h-(\d+)z")
rows = [bytearray(int(svg.get("width"))) for _ in range(int(svg.get("height")))]
for name, path in by_id.items():
    if not name.startswith("cells-"):
        continue
    assert piece.sub("", path.get("d")) == "", "a piece of another form"
    for x, y, width, height, back in (map(int, m) for m in piece.findall(path.get("d"))):
        assert width == back and x + width <= len(rows[0]) and y + height <= len(rows)
        for row in rows[y : y + height]:
            assert not any(row[x : x + width]), "cells overlap"
            row[x : x + width] = bytes([1]) * width
# Between the columns each row of the grid is full, but for the last, which ends at some cell's end.
columns = set(range(len(rows[0]))) - {int(m[0]) for m in piece.findall(by_id["gaps"].get("d"))}
full = [sum(row[x] for x in columns) for row in rows if any(row)]
assert max(full) == full[0] and all(n in (full[0], full[-1]) for n in full), "gaps in the grid"
PYTHON

# draw FILE: what read.py says of the picture must be what info says.
draw() {
	expect_exit 0 "$sealblk" map --svg "$1" "$image"
	python3 read.py "$1" >said
	{
		echo "$image"
		"$sealblk" info --json "$image" | jq -r \
			'"server encrypted: \(if .server_encrypted then "yes" else "no" end)",
			 (.sectors | "\(.base) \(.zero) \(.plain) \(.sealed)")'
	} >wanted
	expect_same wanted said
}

# ---- from the file, and again -----------------------------------------------------
draw fresh.svg
grep -q 'sectors-base"[^>]*>8,192<' fresh.svg || fail "the base is not counted"
draw again.svg
expect_same fresh.svg again.svg
if command -v xmllint >/dev/null; then xmllint --noout fresh.svg; fi
expect_equal "$(stat -c %a wanted)" "$(stat -c %a fresh.svg)" "mode of the picture"

# ---- from a daemon ----------------------------------------------------------------
start_daemon --socket "$socket" --key-file key "$image"
nbd_io "$socket" 'write -P 1 0 64k' 'write -P 2 30M 3M' 'write -P 3 50M 512' 'discard 2M 1M'
draw live.svg
grep -q 'id="cells-sealed"' live.svg || fail "sealed sectors do not show"
stop_daemon
draw live.svg
grep -q '· clean ·' live.svg || fail "what was there was not replaced"

# ---- one sector is seen on a disk of any size; all sizes draw ----------------------
for size in 512 1M 3G 2T 64T; do
	image=size-$size.seal
	"$sealblk" create --size "$size" --key-file key "$image" 2>output || {
		grep -q 'largest file' output
		continue
	}
	timeout 10 "$sealblk" map --svg size.svg "$image"
	draw size.svg
done
image=tiny.seal
"$sealblk" create --size 4T --encryption off --key-file key "$image" >output 2>&1 || image=
if [[ $image ]]; then
	start_daemon --socket "$socket" --key-file key "$image"
	nbd_io "$socket" 'write -P 1 1T 512'
	stop_daemon
	draw tiny.svg
	grep -q 'id="cells-plain"' tiny.svg || fail "one plain sector does not show"
	grep -q 'id="share-plain"[^>]*>&lt; 0.1 %<' tiny.svg || fail "its share is not told"
fi

# ---- refused, and nothing harmed ---------------------------------------------------
image='a&b <c>.seal'
digest "$image" >before
digest base.vhd >>before
files=$(find . -not -name output | sort)
# refuse EXIT PATTERN ARGUMENT...
refuse() {
	local status=$1 pattern=$2
	shift 2
	expect_exit "$status" "$sealblk" map "$@"
	expect_output "^sealblk: .*$pattern"
	expect_equal "$files" "$(find . -not -name output | sort)" files
}
ln "$image" link
ln -s base.vhd base-link
files=$(find . -not -name output | sort)
refuse 1 'is the image itself' --svg "$image" "$image"
refuse 1 'is the image itself' --svg link "$image"
refuse 1 'is the base' --svg base-link "$image"
refuse 1 'is not a file' --svg /dev/null "$image"
refuse 1 'is not a file' --svg . "$image"
refuse 1 'No such file' --svg none/x.svg "$image"
refuse 1 'No such file' --svg new.svg none
refuse 2 'either --json or --svg' --json --svg new.svg "$image"
refuse 2 'names no file' --svg '' "$image"
refuse 2 'wants FILE' "$image" --svg
{
	digest "$image"
	digest base.vhd
} >after
expect_same before after

# A link is followed: the file behind it is replaced.
ln -s live.svg link.svg
draw link.svg
[[ -L link.svg ]] || fail "the link was replaced"
