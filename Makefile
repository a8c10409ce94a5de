# The two commands of the README and what developers need beside them.
# Everything is CMake presets underneath; see CMakePresets.json.

SHELL := /bin/bash
JOBS ?= $(shell nproc)

.PHONY: build test demo deps format lint bench install clean help

build: deps  ## Build a release: build/release/bin/yamanote
	cmake --preset release
	cmake --build --preset release -j $(JOBS)

deps:  ## Install the packages that building and testing need (Debian, root)
	@packaging/install-deps.sh

help:  ## Show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

clean:  ## Remove everything that was built
	rm -rf build
