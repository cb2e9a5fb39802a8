# Two commands for a fresh machine: `make demo` does the main job on real input, `make test` runs everything that must pass.
# The build itself is CMake's (CMakePresets.json); this file only runs the steps in order.

BUILD := build/release
JOBS  := $(shell nproc)
CCACHE := $(shell command -v ccache 2>/dev/null)

.PHONY: all demo test build clean format

all: build

build:
	@tools/bootstrap
	@mkdir -p build
	@cmake --preset release $(if $(CCACHE),-DCMAKE_CXX_COMPILER_LAUNCHER=ccache) -DCLEARHEAD_TESTS=OFF >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@cmake --build --preset release -j $(JOBS)

demo:
	@tools/demo

test:
	@tools/bootstrap --tests
	@tools/test

format:
	@git ls-files '*.cc' '*.h' | xargs clang-format-14 -i

clean:
	rm -rf build
