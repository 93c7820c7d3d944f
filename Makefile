# SPDX-License-Identifier: MIT
# Thin front for Meson and scripts/; everything real is there.
#
#   make deps     install what is needed to build
#   make          build into build/
#   make demo     install what is needed, build, boot Debian's kernel on standin
#   make check    install what is needed, build, run every test
#   make bench    measure: native, standin, QEMU TCG
#   make coverage run the unit, guest and nested tests, print line coverage by folder
#   make install  install the command, the library and their manual (PREFIX=/usr/local); make uninstall
#   make dist     the sources of the last commit as build/standin-VERSION.tar.xz
#   make tarball  programs that run on any x86-64 with glibc 2.34, without installing
#   make deb      packages for this Debian
BUILD ?= build
PREFIX ?= /usr/local
export BUILD := $(abspath $(BUILD))

.PHONY: all deps demo check check-long bench coverage install uninstall dist tarball deb clean
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
	@scripts/coverage --min svm=90 --min irq=90 --min vcpu=90 --min cpu=90 --min mmu=90
install: all
	meson configure $(BUILD) -Dprefix=$(PREFIX)
	meson install -C $(BUILD)
uninstall:
	ninja -C $(BUILD) uninstall
dist tarball deb:
	@scripts/release $@
clean:
	rm -rf $(BUILD)
