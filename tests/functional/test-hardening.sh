#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# What the compiler and the linker are asked for against those who find a mistake in the
# programs, looked for in the programs as they are built.
# shellcheck source-path=SCRIPTDIR/..
. "$(dirname "$0")/../lib.sh"

need readelf objdump
flags=$(<"$(realpath "$BUILD_DIR/tests")/../flags")
[[ $flags != *-fsanitize=* ]] || skip "a build with a sanitizer is for finding mistakes"
cd "$TEST_DIR"

# has FILE WHAT PATTERN, has_not FILE WHAT PATTERN
has() {
	grep -Eq -- "$3" "$1" || fail "$program: $2"
}
has_not() {
	! grep -Eq -- "$3" "$1" || fail "$program: $2"
}

for program in "$sealblkd" "$sealblk"; do
	# The tests with another engine run a script in its place.
	[[ $(head -c 2 "$program") != '#!' ]] || program=$(realpath "$BUILD_DIR/tests")/../sealblkd
	readelf -hlW "$program" >headers
	readelf -dW "$program" >dynamic
	readelf -sW --dyn-syms "$program" | grep -w UND >imports
	readelf -nW "$program" >notes
	readelf --debug-dump=info "$program" 2>/dev/null | grep -m 1 'DW_AT_producer' >producer || true
	objdump -d --no-show-raw-insn "$program" >code

	has headers "not position-independent" 'Type: *DYN'
	has dynamic "not a position-independent executable" 'FLAGS_1.*PIE'
	has headers "no RELRO" 'GNU_RELRO'
	has dynamic "symbols are bound late: RELRO is partial" 'BIND_NOW|FLAGS_1.*NOW'
	has headers "no stack segment" 'GNU_STACK'
	has_not headers "the stack is executable" 'GNU_STACK.* RWE'
	has_not headers "a segment can be written and executed" 'LOAD.* RWE'
	has_not dynamic "the text is relocated" 'TEXTREL'
	has_not dynamic "libraries are looked for elsewhere" 'RPATH|RUNPATH'
	has imports "no stack protector" '__stack_chk_fail'
	has imports "no fortified functions" '__(memcpy|snprintf|vsnprintf)_chk'
	has notes "does not keep to shadow stacks" 'x86 feature:.*SHSTK'
	# IBT: main() may be the target of an indirect jump, and says so. (The mark in the notes
	# needs start-up code that Debian does not have.)
	grep -A 1 -E '<main>:$' code | grep -q endbr64 || fail "$program: main() is no branch target"
	(($(grep -c endbr64 code) > 100)) || fail "$program: few branch targets"
	# Large frames are probed a page at a time.
	has code "no stack clash protection" 'or(q|b) +.0x0,.*\(%rsp'
	if [[ -s producer ]]; then
		has producer "variables are not zeroed" 'ftrivial-auto-var-init=zero'
		has producer "the protector is not -strong" 'fstack-protector-strong'
	fi
done

case $flags in
*-D_FORTIFY_SOURCE=3*) ;;
*) fail "FORTIFY is not 3" ;;
esac
