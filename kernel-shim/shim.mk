# SPDX-License-Identifier: GPL-2.0-only
#
# The kernel module, for the project's Makefile. It is built in a folder of its own, laid
# out as DKMS would find it.
#
#   KERNEL_HEADERS=DIR   a kernel's build tree (default: the newest of Debian's that is installed)

KERNEL_HEADERS ?= $(shell ls -d /usr/src/linux-headers-*-amd64 2>/dev/null | grep -v -e rt-amd64 -e cloud-amd64 | sort -V | tail -n 1)
# One for all builds: nothing of theirs is in it.
SHIM_DIR := build/shim
SHIM_SRC := $(wildcard kernel-shim/*.[ch]) kernel-shim/Kbuild
SHIM_UAPI := include/sealblk/shim_uapi.h

SHIM_MODULE := $(SHIM_DIR)/dm-sealblk.ko

.PHONY: shim
shim: $(SHIM_MODULE)

# Another kernel, another module.
$(SHIM_DIR)/kernel: always
	@mkdir -p $(@D)
	@echo '$(KERNEL_HEADERS)' | cmp -s - $@ || echo '$(KERNEL_HEADERS)' >$@

$(SHIM_MODULE): $(SHIM_SRC) $(SHIM_UAPI) $(SHIM_DIR)/kernel
	$(if $(KERNEL_HEADERS),,$(error no kernel headers: run `make setup`, or set KERNEL_HEADERS))
	$(call say,KBUILD,'$@ for $(patsubst linux-headers-%,%,$(notdir $(KERNEL_HEADERS)))')
	@mkdir -p $(SHIM_DIR)/include/sealblk
	$(Q)cp $(SHIM_SRC) $(SHIM_DIR)/
	$(Q)cp $(SHIM_UAPI) $(SHIM_DIR)/include/sealblk/
	$(Q)$(MAKE) -s -C $(KERNEL_HEADERS) M='$(abspath $(SHIM_DIR))' W=1 $(SHIM_FLAGS) modules

# Sources for DKMS to build; `dkms install dm-sealblk/VERSION` does.
SHIM_VERSION = $(shell sed -n 's/.*SEALBLK_VERSION "\(.*\)"/\1/p' include/sealblk/version.h)
.PHONY: install-dkms
install-dkms: to = $(DESTDIR)/usr/src/dm-sealblk-$(SHIM_VERSION)
install-dkms:
	install -d '$(to)/include/sealblk'
	install -m 644 $(SHIM_SRC) kernel-shim/LICENSE '$(to)'
	install -m 644 $(SHIM_UAPI) '$(to)/include/sealblk'
	sed 's/@VERSION@/$(SHIM_VERSION)/' kernel-shim/dkms.conf >'$(to)/dkms.conf'

-include $(BUILD)/obj/kernel-shim/parse.d

# ---- checks -----------------------------------------------------------------

SHIM_TESTS := $(wildcard tests/guest/test-dm-sealblk*.sh)

# The pure parts, and the module in virtual machines: also a part of check.
.PHONY: check-shim lint-shim lint-sparse lint-checkpatch
check-shim: setup
	$(Q)$(MAKE) tests
	$(Q)$(UNIT) --filter 'shim*/*' --quiet
	$(Q)tests/run.sh --build $(BUILD) --jobs $(JOBS) $(SHIM_TESTS)

lint-shim: lint-sparse lint-checkpatch

# All of it is looked at again, in a folder of its own; a word of it is too much.
lint-sparse:
	$(call say,SPARSE,'$(words $(filter %.c,$(SHIM_SRC))) files')
	$(Q)rm -rf $(SHIM_DIR)-sparse && mkdir -p $(SHIM_DIR)-sparse
	$(Q)$(MAKE) SHIM_DIR=$(SHIM_DIR)-sparse SHIM_FLAGS=C=2 shim >$(SHIM_DIR)-sparse/log 2>&1 && \
		! grep -E 'warning:|error:' $(SHIM_DIR)-sparse/log || { cat $(SHIM_DIR)-sparse/log; exit 1; }

# From the kernel's sources, which are large, so make setup does not install them.
CHECKPATCH_TAR := $(lastword $(wildcard /usr/src/linux-source-*.tar.xz))
CHECKPATCH := build/checkpatch/scripts/checkpatch.pl
lint-checkpatch:
	$(call say,CHECK,'$(words $(SHIM_SRC)) files')
	$(Q)if [ -z '$(CHECKPATCH_TAR)' ]; then echo 'checkpatch: not run: install linux-source'; exit; fi; \
	if [ ! -e $(CHECKPATCH) ]; then mkdir -p build/checkpatch && \
		tar -xf '$(CHECKPATCH_TAR)' -C build/checkpatch --strip-components=1 --wildcards \
			'*/scripts/checkpatch.pl' '*/scripts/spelling.txt' '*/scripts/const_structs.checkpatch'; fi; \
	$(CHECKPATCH) --strict --no-tree --terse --quiet --file $(filter %.c %.h,$(SHIM_SRC)) $(SHIM_UAPI)
