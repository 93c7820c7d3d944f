# SPDX-License-Identifier: MIT
# Thin front for Meson and scripts/; everything real is there.
#
#   make deps     install what is needed to build
#   make          build into build/
#   make demo     install what is needed, build, boot Debian's kernel on standin
#   make check    install what is needed, build, run every test
#   make bench    measure: native, standin, QEMU TCG
#   make coverage run the unit, guest and nested tests, print line coverage by folder
#   make install  install the command and the library (PREFIX=/usr/local)
BUILD ?= build
PREFIX ?= /usr/local
export BUILD := $(abspath $(BUILD))

.PHONY: all deps demo check check-long bench coverage install clean
all:
	@scripts/build
deps:
	@scripts/deps build
demo:
	@scripts/demo
check:
	@scripts/check
check-long:
	@scripts/check --long
bench:
	@scripts/bench
coverage:
	@scripts/coverage --min svm=90
install: all
	meson configure $(BUILD) -Dprefix=$(PREFIX)
	meson install -C $(BUILD)
clean:
	rm -rf $(BUILD)
