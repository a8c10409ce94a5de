# The two commands of the README and what developers need beside them.
# Everything is CMake presets underneath; see CMakePresets.json.

SHELL := /bin/bash
JOBS ?= $(shell nproc)
# Where `make install` puts things; DESTDIR is prepended, as packagers expect.
PREFIX ?= /usr/local
DESTDIR ?=
# DEPS=no: packages are provided by other means, install none.
DEPS ?= yes
# VM=no: leave out what `make test` does in a virtual machine, for which it fetches a kernel
# and QEMU from Debian's backports into ~/.cache/yamanote/vm.
VM ?= yes
CLANG_FORMAT ?= clang-format-19

.DEFAULT_GOAL := help
.PHONY: help build test test-vm demo deps deps-build deps-bench format lint bench install \
        clean check-dev check-asan check-tsan lint-quick

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12
	@echo 'Variables: JOBS=$(JOBS) PREFIX=$(PREFIX) DESTDIR=$(DESTDIR) DEPS=$(DEPS) (no: install no packages)'
	@echo '           VM=$(VM) (no: no virtual machine in `make test`)'

build: deps-build  ## Build a release: build/release/bin/yamanote
	cmake --preset release
	@# What comes over the network first: whoever has none learns it now, not at the end.
	cmake --build --preset release --target yamanote_uplot
	cmake --build --preset release -j $(JOBS)

demo: build  ## Compare schedulers on this machine; ends with a report
	build/release/bin/yamanote demo

# One after another, also under `make -j`: each uses all cores by itself.
test: deps  ## Build and pass all tests: GCC, a virtual machine, ASan+UBSan and TSan, then lint
	@$(MAKE) --no-print-directory check-dev
	@$(MAKE) --no-print-directory check-asan
	@$(MAKE) --no-print-directory check-tsan
	@$(MAKE) --no-print-directory lint-quick
	@echo "== all tests passed"

test-vm:  ## Pass the tests that need a kernel with sched_ext, in a virtual machine (QEMU)
	@tests/vm/test.sh $(JOBS)

check-dev check-asan check-tsan: check-%:
	@VM=$(VM) packaging/check-preset.sh $* $(JOBS)

lint: lint-quick  ## clang-tidy on src, apps, tools and tests; formatting; the rooms' rule
	@packaging/lint.sh --all $(JOBS)

lint-quick:
	@packaging/lint.sh --quick $(JOBS)

format:  ## Format every C++ source
	git ls-files '*.cc' '*.h' | xargs $(CLANG_FORMAT) -i

bench: deps-bench  ## Build bench/ and its peers; bench/README.md says how to run
	cmake --preset bench
	cmake --build --preset bench -j $(JOBS)
	@echo "built; bench/README.md says how to run each and what it measures"

install: build  ## Install to PREFIX (default /usr/local)
	DESTDIR="$(DESTDIR)" cmake --install build/release --prefix "$(PREFIX)"

deps:  ## Install what building and testing need (Debian, root or sudo)
ifneq ($(DEPS),no)
	@packaging/install-deps.sh build test native
endif

deps-build:
ifneq ($(DEPS),no)
	@packaging/install-deps.sh build
endif

deps-bench:  ## Install what the benchmarks need: the peers
ifneq ($(DEPS),no)
	@packaging/install-deps.sh build bench
endif

clean:  ## Remove everything that was built
	rm -rf build
