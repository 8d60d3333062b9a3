# SPDX-License-Identifier: MIT
#
# The only entry point; `make help` lists the targets.
#
#   V=1              show the commands
#   BUILD=DIR        where everything built goes (build)
#   SANITIZE=LIST    build with -fsanitize=LIST; give it a BUILD of its own
#   FUZZ_SECONDS=N   how long make fuzz runs each target (60)
#   JOBS=N           tests run side by side by the check targets (2)
#   CC, CFLAGS, LDFLAGS, DESTDIR, PREFIX   as usual

MAKEFLAGS += --no-builtin-rules --no-print-directory
.DELETE_ON_ERROR:
.SUFFIXES:

BUILD ?= build
PREFIX ?= /usr/local
CFLAGS ?= -O2 -g
JOBS ?= 2
FUZZ_SECONDS ?= 60

say = $(if $(filter 1,$(V)),,@printf '  %-7s %s\n' $(1) $(2))
Q = $(if $(filter 1,$(V)),,@)

# ---- flags ------------------------------------------------------------------

# pkg-config is asked once, when first needed: help, setup and clean work without it.
PKGS := liburing libssl libcrypto jansson libsystemd libkeyutils p11-kit-1 libnl-genl-3.0 devmapper
pkg = $(shell pkg-config $(1))$(if $(filter-out 0,$(.SHELLSTATUS)),$(error libraries are missing: run `make setup`))
PKG_CFLAGS = $(eval PKG_CFLAGS := $(patsubst -I%,-isystem %,$(call pkg,--cflags $(PKGS))))$(PKG_CFLAGS)
# libaio has no .pc file.
PKG_LIBS = $(eval PKG_LIBS := $(call pkg,--libs $(PKGS)) -laio)$(PKG_LIBS)
CRITERION_LIBS = $(eval CRITERION_LIBS := $(call pkg,--libs criterion))$(CRITERION_LIBS)

WARNINGS := -Wall -Wextra -Wshadow -Wvla -Wswitch-enum -Wmissing-prototypes \
	-Wstrict-prototypes -Wcast-qual -Wwrite-strings -Wformat=2 -Wundef -Werror
# What may cost time: the protector and clash protection a little in each call, FORTIFY=3 where
# it has to find out a size, zeroing where there are arrays on the stack (see UNINITIALIZED in
# base/compiler.h). clang has the last one under another name, as long as it pleases.
HARDENING := -fPIE -fstack-protector-strong -fcf-protection -fstack-clash-protection
ifeq ($(findstring clang,$(CC)),)
ZERO_INIT := -ftrivial-auto-var-init=zero
NO_ZERO_INIT := -ftrivial-auto-var-init=uninitialized
endif
HARDENING += $(ZERO_INIT)
ifdef SANITIZE
HARDENING += -fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer
else
HARDENING += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
endif

cc_flags = -std=gnu11 $(CFLAGS) $(WARNINGS) $(HARDENING) -pthread -D_GNU_SOURCE \
	-Iinclude -Idaemon $(PKG_CFLAGS)
# The C library's start-up code of Debian 12 does not say that it keeps to shadow stacks (it
# does): with -z shstk the linker takes our word for it.
ld_flags = $(CFLAGS) $(HARDENING) -pthread -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,shstk,--as-needed $(LDFLAGS)

# ---- files ------------------------------------------------------------------

objects = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))

CORE_SRC := $(wildcard daemon/*/*.c)
DAEMON_SRC := $(wildcard daemon/*.c)
TOOLS_SRC := $(wildcard tools/*.c)
UNIT_SRC := $(wildcard tests/unit/*/*.c)
SIM_RUN_SRC := $(wildcard tests/sim/run_*.c)
SIM_SRC := $(filter-out $(SIM_RUN_SRC),$(wildcard tests/sim/*.c))
TEST_TOOL_SRC := $(wildcard tests/tools/*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_XTS_SRC := tests/bench/xts.c
BENCH_SRC := $(filter-out $(BENCH_XTS_SRC),$(wildcard tests/bench/*.c))
MODEL_SRC := $(wildcard tests/model/*.c)
PRELOAD_SRC := $(wildcard tests/preload/*.c)
TRACE_LOAD_SRC := tests/trace/load.c tests/trace/common.c
TRACE_REPLAY_SRC := $(filter-out tests/trace/load.c,$(wildcard tests/trace/*.c))
POWERCUT_SRC := $(wildcard tests/powercut/*.c)
BAD_DM_SRC := $(wildcard tests/shim/*.c)
SRC := $(CORE_SRC) $(DAEMON_SRC) $(TOOLS_SRC) $(UNIT_SRC) $(SIM_SRC) $(SIM_RUN_SRC) \
	$(TEST_TOOL_SRC) $(FUZZ_SRC) tests/fuzz/replay.c $(BENCH_SRC) $(BENCH_XTS_SRC) $(MODEL_SRC) \
	$(PRELOAD_SRC) tests/trace/load.c $(TRACE_REPLAY_SRC) $(POWERCUT_SRC) $(BAD_DM_SRC)

HEADERS := $(wildcard include/sealblk/*.h daemon/*.h daemon/*/*.h tools/*.h tests/sim/*.h tests/model/*.h tests/trace/*.h \
	tests/powercut/*.h tests/shim/*.h)
SCRIPTS := .ci/run $(wildcard tools/*.sh tests/*.sh tests/*/*.sh docs/examples/*)

ARCHIVE := $(BUILD)/libsealblk.a
PROGRAMS := $(BUILD)/sealblkd $(BUILD)/sealblk
UNIT := $(if $(UNIT_SRC),$(BUILD)/tests/unit)
SIMS := $(patsubst tests/sim/run_%.c,$(BUILD)/tests/sim-%,$(SIM_RUN_SRC))
TEST_TOOLS := $(patsubst tests/tools/%.c,$(BUILD)/tests/%,$(TEST_TOOL_SRC))
REPLAYS := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/tests/replay_%,$(FUZZ_SRC))
FUZZERS := $(patsubst tests/fuzz/%.c,$(BUILD)/tests/%,$(FUZZ_SRC))
LOADS := $(patsubst tests/bench/%.c,$(BUILD)/tests/%,$(BENCH_SRC))
BENCH_XTS := $(BUILD)/tests/bench-xts
MODEL := $(BUILD)/tests/model
TRACE_LOAD := $(BUILD)/tests/trace-load
TRACE_REPLAY := $(BUILD)/tests/trace-replay
PRELOADS := $(patsubst tests/preload/%.c,$(BUILD)/tests/%.so,$(PRELOAD_SRC))
POWERCUT := $(BUILD)/tests/powercut
BAD_DM := $(BUILD)/tests/bad_dm_daemon
TEST_SCRIPTS := $(wildcard tests/sim/mutants.sh tests/functional/test-*.sh tests/interop/test-*.sh \
	tests/guest/test-*.sh)

# Run again with the engine for systems without io_uring: what looks hardest at I/O, or all but
# what chooses engines itself, and the one whose failing calls would hit the shell that adds
# --io-engine.
AIO_SCRIPTS := $(filter-out $(patsubst %,tests/functional/test-%.sh,fault-loops io-engine), $(wildcard \
	$(if $(SEALBLK_LONG),tests/functional/test-*.sh tests/interop/test-*.sh, \
	$(patsubst %,tests/interop/test-%.sh,conformance nbd-conformance fio model multi-conn nbdcopy nbdinfo \
		qemu-io) \
	$(patsubst %,tests/functional/test-%.sh,bad-requests caps clean-stop disk-full encryption-switch \
		fsync-fails handshake-deadline kill9 listen process-death socket-activation))))

# ---- build ------------------------------------------------------------------

.PHONY: all
all: $(PROGRAMS)

$(BUILD)/sealblkd: $(call objects,$(DAEMON_SRC)) $(ARCHIVE)
$(BUILD)/sealblk: $(call objects,$(TOOLS_SRC)) $(ARCHIVE)
# With the module's pure part, which is not ours to format.
$(UNIT): $(call objects,$(UNIT_SRC) kernel-shim/parse.c) $(ARCHIVE)
$(UNIT): TEST_LIBS = $(CRITERION_LIBS)
$(SIMS): $(BUILD)/tests/sim-%: $(BUILD)/obj/tests/sim/run_%.o $(call objects,$(SIM_SRC)) $(ARCHIVE)
$(TEST_TOOLS): $(BUILD)/tests/%: $(BUILD)/obj/tests/tools/%.o $(ARCHIVE)
$(BUILD)/tests/refuse_uring $(BUILD)/tests/run_filtered: TEST_LIBS = -lseccomp

$(FUZZERS): $(BUILD)/tests/%: $(BUILD)/obj/tests/fuzz/%.o $(ARCHIVE)
$(FUZZERS): TEST_LIBS = -fsanitize=fuzzer
$(REPLAYS): $(BUILD)/tests/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(BUILD)/obj/tests/fuzz/replay.o $(ARCHIVE)

$(LOADS): $(BUILD)/tests/%: $(BUILD)/obj/tests/bench/%.o
$(BENCH_XTS): $(call objects,$(BENCH_XTS_SRC)) $(ARCHIVE)
$(MODEL): $(call objects,$(MODEL_SRC))
$(TRACE_LOAD): $(call objects,$(TRACE_LOAD_SRC))
$(TRACE_REPLAY): $(call objects,$(TRACE_REPLAY_SRC)) $(ARCHIVE)
$(POWERCUT): $(call objects,$(POWERCUT_SRC))
$(BAD_DM): $(call objects,$(BAD_DM_SRC))
$(LOADS) $(MODEL) $(TRACE_LOAD): TEST_LIBS = -lnbd

$(PROGRAMS) $(UNIT) $(SIMS) $(TEST_TOOLS) $(FUZZERS) $(REPLAYS) $(LOADS) $(BENCH_XTS) $(MODEL) $(TRACE_LOAD) $(TRACE_REPLAY) \
	$(POWERCUT) $(BAD_DM): $(BUILD)/sources
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ld_flags) -o $@ $(filter %.o %.a,$^) $(PKG_LIBS) $(TEST_LIBS)

# Loaded by programs, and without sanitizers: those must be loaded first.
$(PRELOADS): $(BUILD)/tests/%.so: tests/preload/%.c $(BUILD)/flags
	$(call say,LINK,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 -O2 -g $(WARNINGS) -D_GNU_SOURCE -fPIC -shared -o $@ $<

$(ARCHIVE): $(call objects,$(CORE_SRC)) $(BUILD)/sources
	$(call say,AR,$@)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && $(AR) rcs $@ $(filter %.o,$^)

# In these loops all arrays are registers, and each is written before it is read.
$(BUILD)/obj/daemon/crypt/xts_aesni.o $(BUILD)/obj/daemon/crypt/xts_vaes%.o: EXTRA_CFLAGS = $(NO_ZERO_INIT)
$(BUILD)/obj/tests/%.o: EXTRA_CFLAGS = -Itests
$(BUILD)/obj/tools/%.o: EXTRA_CFLAGS = -Itools
$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(cc_flags) $(EXTRA_CFLAGS) -MMD -MP -c -o $@ $<

# These change when the flags and the list of sources do, and only then. Tests that
# build a program again read the flags and the libraries.
$(BUILD)/flags: stamp = $(CC) $(cc_flags) $(ld_flags)
$(BUILD)/libs: stamp = $(PKG_LIBS)
$(BUILD)/sources: stamp = $(sort $(SRC))
$(BUILD)/flags $(BUILD)/libs $(BUILD)/sources: always
	@mkdir -p $(@D)
	@echo '$(stamp)' | cmp -s - $@ || echo '$(stamp)' >$@

.PHONY: always
always:

-include $(patsubst %.c,$(BUILD)/obj/%.d,$(SRC))

include kernel-shim/shim.mk

# ---- use --------------------------------------------------------------------

# Whoever wants the libraries there sets up first and then runs make again: what
# pkg-config says is read once.
.PHONY: setup run install clean help
setup:
	$(Q)tools/setup.sh

run: setup
	$(Q)$(MAKE) all test-tools
	$(Q)BUILD_DIR=$(BUILD) tools/run-demo.sh

# Figures are for comparing within one run: see docs/performance.md and bench.py --help.
.PHONY: bench
bench:
	$(Q)tools/setup.sh bench
	$(Q)$(MAKE) all $(LOADS) shim
	$(Q)tests/bench/bench.py --build $(BUILD) --csv $(BUILD)/bench.csv --svg $(BUILD)/bench.svg $(BENCH_FLAGS)
	$(Q)tests/bench/conversions.py --build $(BUILD) $(CONVERSIONS_FLAGS)
	$(Q)$(MAKE) bench-shim

# dm-sealblk beside the kernel's NBD client, in an emulated machine.
.PHONY: bench-shim
bench-shim: shim
	$(Q)SEALBLK_LONG=1 tests/run.sh --build $(BUILD) tests/guest/test-dm-sealblk-speed.sh

# The XTS kernels alone, beside OpenSSL.
.PHONY: bench-xts
bench-xts: setup
	$(Q)$(MAKE) $(BENCH_XTS)
	$(Q)$(BENCH_XTS)

install: all
	install -d '$(DESTDIR)$(PREFIX)/bin'
	install -m 755 $(PROGRAMS) '$(DESTDIR)$(PREFIX)/bin'

clean:
	rm -rf build build-asan build-tsan build-cov build-fuzz $(BUILD)

help:
	@echo 'make               build $(BUILD)/sealblkd and $(BUILD)/sealblk'
	@echo 'make setup         install the Debian packages that are missing, or say which'
	@echo 'make run           build, and show what sealblk does'
	@echo 'make shim          build the kernel module $(SHIM_MODULE)'
	@echo 'make check         build and run every test'
	@echo 'make check-asan    the same with AddressSanitizer and UBSan, in build-asan/'
	@echo 'make check-tsan    what the daemon does in several threads, with ThreadSanitizer, in build-tsan/'
	@echo 'make coverage      of parsers and recovery: lines and branches, in build-cov/'
	@echo 'make check-mutants break each rule of the code, and see a test fail'
	@echo 'make check-long    the same as check, with the long version of each test, and fuzz'
	@echo 'make fuzz          feed each decoder what libFuzzer thinks of; fuzz-smoke: seconds of it, part of check'
	@echo 'make check-shim    the kernel module: its pure parts, and virtual machines'
	@echo 'make check-layers  pure folders are pure'
	@echo 'make check-headers each header compiles alone'
	@echo 'make lint          clang-tidy, cppcheck, gcc -fanalyzer, shellcheck'
	@echo 'make style         is it formatted?  make format: format it'
	@echo 'make bench         both programs and dm-sealblk beside their peers, 40 minutes; BENCH_FLAGS for bench.py'
	@echo 'make bench-xts     the XTS kernels beside OpenSSL, in GB/s'
	@echo 'make install       to DESTDIR/PREFIX/bin (PREFIX is $(PREFIX))'
	@echo 'make install-dkms  the module'\''s sources to DESTDIR/usr/src'
	@echo 'make clean         remove what was built'
	@echo 'V=1 shows the commands; the head of Makefile names the other settings.'

# ---- checks -----------------------------------------------------------------

.PHONY: check check-asan check-tsan check-long check-mutants coverage coverage-built check-built tests check-layers check-headers
check: setup
	$(Q)$(MAKE) fuzz-smoke
	$(Q)$(MAKE) check-built

check-asan: setup
	$(Q)$(MAKE) BUILD=build-asan SANITIZE=address,undefined check-built

# What several threads of the daemon do at the same time.
TSAN_SCRIPTS := $(patsubst %,tests/functional/test-%.sh,caps encryption-switch events policy cli-rewrite) \
	$(patsubst %,tests/interop/test-%.sh,multi-conn fio tls)
check-tsan: setup
	$(Q)$(MAKE) BUILD=build-tsan SANITIZE=thread tests
	$(Q)tests/run.sh --build build-tsan --jobs $(JOBS) $(TSAN_SCRIPTS)

# Of parsers and recovery; see tests/coverage.sh.
coverage: setup
	$(Q)$(MAKE) BUILD=build-cov CFLAGS='-Og -g --coverage -Wno-format-truncation' LDFLAGS=--coverage \
		coverage-built

coverage-built: $(UNIT) $(BUILD)/tests/sim-workloads $(BUILD)/tests/sim-repair $(REPLAYS)
	$(Q)tests/coverage.sh $(BUILD)

# Also a part of check.
check-mutants: setup
	$(Q)$(MAKE) tests
	$(Q)BUILD_DIR=$(BUILD) tests/sim/mutants.sh

check-long: setup
	$(Q)$(MAKE) fuzz FUZZ_SECONDS=20
	$(Q)SEALBLK_LONG=1 $(MAKE) check-built

# A sanitizer adds calls of its own to the pure objects: the layers are checked without.
check-built: tests $(if $(SANITIZE),,check-layers check-headers)
	$(Q)tests/run.sh --build $(BUILD) --jobs $(JOBS) $(UNIT) $(SIMS) $(TEST_SCRIPTS) \
		--engine libaio $(AIO_SCRIPTS)

tests: all shim test-tools $(UNIT) $(SIMS) $(LOADS) $(MODEL) $(TRACE_LOAD) $(TRACE_REPLAY) $(PRELOADS) $(POWERCUT) $(BAD_DM) $(BUILD)/libs

.PHONY: test-tools
test-tools: $(TEST_TOOLS)

.PHONY: fuzz fuzz-smoke fuzz-built
fuzz-smoke: setup
	$(Q)$(MAKE) fuzz FUZZ_SECONDS=3

fuzz: setup
	$(Q)$(MAKE) -j $(JOBS) CC=clang BUILD=build-fuzz SANITIZE=address,undefined,fuzzer-no-link \
		fuzz-built

fuzz-built: $(FUZZERS)
	$(Q)tests/fuzz/run.sh $(BUILD) $(FUZZ_SECONDS) $(JOBS) $(FUZZERS)

check-layers: $(ARCHIVE)
	$(Q)tests/check-layers.sh $(BUILD)

check-headers:
	$(Q)for h in $(HEADERS); do \
		echo "#include \"$$h\"" | $(CC) $(cc_flags) -Itools -Itests -I. \
			-fsyntax-only -x c - || exit 1; \
	done
	@echo 'headers: each of $(words $(HEADERS)) compiles alone'

.PHONY: style format lint lint-tidy lint-cppcheck lint-analyzer lint-shell
style: setup
	$(Q)clang-format --dry-run --Werror $(SRC) $(HEADERS)
	$(Q)awk 'FNR == 601 { print FILENAME ": longer than 600 lines"; bad = 1 } END { exit bad }' \
		$(SRC) $(HEADERS)

format: setup
	$(Q)clang-format -i $(SRC) $(HEADERS)

lint: setup
	$(Q)$(MAKE) lint-tidy lint-cppcheck lint-analyzer lint-shell lint-shim

LINT_SRC := $(CORE_SRC) $(DAEMON_SRC) $(TOOLS_SRC)

lint-tidy:
	$(call say,TIDY,'$(words $(LINT_SRC)) files')
	$(Q)clang-tidy --quiet $(LINT_SRC) -- $(filter-out $(ZERO_INIT),$(cc_flags)) -Itools -Itests

# Suppressed: cppcheck's table for mmap() does not know that anonymous memory takes fd -1.
lint-cppcheck:
	$(call say,CPPCHECK,'$(words $(LINT_SRC)) files')
	$(Q)cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c11 --library=posix -j 2 \
		--enable=warning,performance,portability --suppress=missingIncludeSystem --suppress=invalidFunctionArg \
		-D_GNU_SOURCE -D__x86_64__ -Iinclude -Idaemon -Itools -Itests $(LINT_SRC)

# Without leaks: gcc 12 takes what is returned by its embedded first member for lost.
lint-analyzer: $(patsubst %.c,$(BUILD)/analyzed/%,$(LINT_SRC))

$(BUILD)/analyzed/%: %.c $(BUILD)/flags
	$(call say,ANALYZE,$<)
	@mkdir -p $(@D)
	$(Q)gcc $(cc_flags) -Itools -Itests -fanalyzer -Wno-analyzer-malloc-leak -c -o $@ $<

lint-shell:
	$(call say,SHELL,'$(words $(SCRIPTS)) scripts')
	$(Q)shellcheck -x -P SCRIPTDIR -e SC2119,SC2120 $(SCRIPTS)
