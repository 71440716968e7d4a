# The short way in; CMake does the work (CMakeLists.txt, CMakePresets.json).
#
#   make            builds build/mia            make lint       formatting, clang-tidy, sizes, includes, scripts
#   make run        tells a story               make format     formats the sources
#   make test       the tests, some minutes     make bench      builds and runs the benchmarks
#   make test-all   all of them, sanitizers too make install    into PREFIX (/usr/local), DESTDIR is respected
#   make exports    writes tests/exports.txt    make operations  writes the tables of operations
#   make webgpu     installs a WebGPU library for this user, and drivers for tests (docs/webgpu.md)
#   make clean      removes every build folder
#
# Variables: ARGS (for run), JOBS, CC, PREFIX, DESTDIR, CMAKE_ARGS (more options for CMake, "-DMIA_WERROR=ON").

JOBS      ?= $(shell nproc 2>/dev/null || echo 2)
PREFIX    ?= /usr/local
TEST_JOBS ?= 2
export JOBS

# A compiler that the user names is used; its C++ counterpart follows it.
ifneq ($(origin CC),default)
export CC
ifeq ($(origin CXX),default)
ifneq ($(filter gcc% clang%,$(notdir $(CC))),)
export CXX := $(subst gcc,g++,$(subst clang,clang++,$(CC)))
endif
endif
endif
ifneq ($(origin CXX),default)
export CXX
endif

CTEST := ctest --test-dir build --parallel $(TEST_JOBS) --output-on-failure --no-tests=error --no-label-summary

.PHONY: all run test test-all bench install lint format exports operations webgpu clean setup-build setup-test setup-lint setup-all \
    configure-test configure-all drivers-test drivers-all

all: build/build.ninja
	@cmake --build build --parallel $(JOBS) --target product

run: all
	@./build/mia run $(ARGS)

test: configure-test drivers-test
	@cmake --build build --parallel $(JOBS)
	@$(CTEST) -LE "long|suite"

test-all: configure-all drivers-all
	@cmake --build build --parallel $(JOBS)
	@$(CTEST)

bench: all
	@cmake --build build --parallel $(JOBS) --target bench
	@if [ -f bench/run.sh ]; then bash bench/run.sh build; \
	else for program in build/bench/*; do [ -x "$$program" ] || continue; "$$program" || exit 1; done; fi

install: all
	@cmake --install build --prefix "$(PREFIX)"
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ]; then PATH="$$PATH:/sbin" ldconfig 2>/dev/null || true; fi

lint: setup-lint configure-test
	@bash scripts/lint.sh build

format: setup-lint
	@bash scripts/lint.sh --format

exports: configure-test
	@cmake --build build --parallel $(JOBS) --target mia_shared
	@bash scripts/exports.sh write build/libmia.so

operations: configure-test
	@cmake --build build --parallel $(JOBS) --target ops_cells
	@python3 scripts/operations.py write . build/tests/ops/ops_cells

webgpu:
	@sh scripts/webgpu.sh all

# What tests on GPU drivers run with; they are skipped where it cannot be had.
drivers-test drivers-all: drivers-%: setup-%
	@sh scripts/webgpu.sh $* || echo "webgpu: tests that need the above are skipped"

clean:
	@rm -rf build build-*

setup-build setup-test setup-lint setup-all: setup-%:
	@sh scripts/setup.sh $*

# `make` configures once; CMake looks after later changes by itself. Tests need more packages: they are configured in
# by the targets that run them, and stay.
build/build.ninja: | setup-build
	@cmake --preset release $(CMAKE_ARGS)

configure-test: setup-test
	@cmake --preset release -DMIA_TESTS=ON $(CMAKE_ARGS)

configure-all: setup-all
	@cmake --preset release -DMIA_TESTS=ON -DMIA_SUITES=ON $(CMAKE_ARGS)
