# Thin front for Meson; everything real is in meson.build and scripts/.
BUILD ?= build
.PHONY: all check demo bench install deps clean
all: $(BUILD)/build.ninja
	ninja -C $(BUILD)
$(BUILD)/build.ninja:
	meson setup $(BUILD)
deps:
	scripts/deps
demo:
	scripts/demo
check:
	scripts/check
bench:
	scripts/bench
install: all
	meson install -C $(BUILD)
clean:
	rm -rf $(BUILD)
