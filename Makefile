# hasten: `make help` lists what there is. PYTHON=python3.13 chooses the interpreter of a new .venv.
.DEFAULT_GOAL := dev
.SHELLFLAGS := -eu -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
JOBS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
# meson finds the Python to build for, ninja and the linters on PATH.
IN_VENV := PATH="$(abspath $(BIN)):$$PATH"
MESON := $(IN_VENV) $(BIN)/meson
PYTEST := $(IN_VENV) $(BIN)/pytest
C_FILES = $(shell git ls-files --cached --others --exclude-standard 'src/*.[ch]' 'tests/unit/*.[ch]' 'tests/fuzz/*.c')
PY_FOLDERS = python tests tools bench
S ?= 60
N ?= 1000
SEED ?= 1000

.PHONY: help dev build venv test check plugins asan tsan memcheck fuzz fuzz-suites fuzz-programs coverage tidy fmt \
	fmt-check lint headers layers sizes bench corpus ready dist docs clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

$(VENV)/.ready: tools/requirements.txt
	tools/bootstrap.sh tests
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q -r tools/requirements.txt
	touch $@

$(VENV)/.lint: tools/requirements-lint.txt | $(VENV)/.ready
	$(PY) -m pip install -q -r tools/requirements-lint.txt
	touch $@

build: $(VENV)/.ready
	test -f build/dev/build.ninja || $(MESON) setup build/dev >/dev/null
	for folder in src python tests/unit; do $(PY) tools/sources.py $$folder .c .py .pyi .html; done > build/dev/sources.new
	cmp -s build/dev/sources.new build/dev/sources || $(MESON) setup --reconfigure build/dev >/dev/null
	mv build/dev/sources.new build/dev/sources
	$(IN_VENV) ninja -C build/dev -j $(JOBS) --quiet

dev: build ## .venv, build/dev and the links that make .venv/bin/hasten and `import hasten` use this tree
	$(PY) tools/develop.py build/dev
	ln -sf build/dev/compile_commands.json compile_commands.json

test: dev ## all tests: C units by meson, then tests/ by pytest
	status=0; \
	$(MESON) test -C build/dev --print-errorlogs --num-processes $(JOBS) || status=1; \
	$(PYTEST) tests || status=1; \
	exit $$status

check: dev ## the quick part of the tests, under a minute: C units, tests/python, and the rules of the tree
	$(MESON) test -C build/dev --print-errorlogs --num-processes $(JOBS)
	$(PYTEST) -q tests/python
	$(PY) tools/layers.py
	$(PY) tools/sizes.py

build/plugins/.ready: tests/plugins/requirements.txt | $(VENV)/.ready
	test -x build/plugins/venv/bin/python || $(PYTHON) -m venv build/plugins/venv
	build/plugins/venv/bin/python -m pip install -q -r tests/plugins/requirements.txt
	touch $@

plugins: dev build/plugins/.ready ## the plugin matrix (docs/reference/plugins.md) in an environment of its own; K="cov or html"
	build/plugins/venv/bin/python tools/develop.py build/dev
	HASTEN_PLUGIN_PYTHON=$(abspath build/plugins/venv/bin/python) $(PYTEST) tests/plugins $(if $(K),-k "$(K)")

asan: dev ## C units, the extension under tests/python and the program under tests/e2e, with AddressSanitizer and UBSan
	$(MESON) setup $$(test -f build/asan/build.ninja && echo --reconfigure) build/asan \
		-Db_sanitize=address,undefined -Db_lundef=false >/dev/null
	$(IN_VENV) ninja -C build/asan -j $(JOBS) --quiet
	UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 $(MESON) test -C build/asan --print-errorlogs
	suffix=$$($(PY) -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))'); \
	if test -f build/asan/_native$$suffix; then \
		rm -rf build/asan/site && mkdir -p build/asan/site && cp -r python/hasten build/asan/site/; \
		rm -f build/asan/site/hasten/_native*.so && cp build/asan/_native$$suffix build/asan/site/hasten/; \
		LD_PRELOAD=$$(cc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
		PYTHONPATH=build/asan/site HASTEN_SANITIZED=1 $(PYTEST) -q tests/python -k 'not architecture and not tools' \
			|| test $$? = 5; \
	fi
	ln -sfn ../../build/asan/hasten $(BIN)/hasten-asan
	HASTEN_PROGRAM=$(abspath $(BIN))/hasten-asan $(PYTEST) -q tests/e2e

tsan: dev ## C units under ThreadSanitizer
	$(MESON) setup $$(test -f build/tsan/build.ninja && echo --reconfigure) build/tsan \
		-Db_sanitize=thread -Db_lundef=false >/dev/null
	TSAN_OPTIONS=halt_on_error=1:allocator_may_return_null=1 $(MESON) test -C build/tsan --print-errorlogs

memcheck: dev ## C units under valgrind
	HASTEN_TEST_SLOWER=30 $(MESON) test -C build/dev --print-errorlogs --timeout-multiplier 10 --no-suite fuzz \
		--wrapper 'valgrind -q --error-exitcode=3 --leak-check=full --errors-for-leak-kinds=definite'

fuzz: $(VENV)/.ready ## every fuzz target for S seconds (S=60), or only T=name; what it finds stays in build/fuzz/found
	CC=clang $(MESON) setup $$(test -f build/fuzz/build.ninja && echo --reconfigure) build/fuzz \
		-Dfuzz=true -Dtests=disabled -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
	$(IN_VENV) ninja -C build/fuzz -j $(JOBS) --quiet
	$(PY) tools/fuzz_seeds.py --unpack
	status=0; mkdir -p build/fuzz/found; \
	for target in build/fuzz/tests/fuzz/fuzz_$(or $(T),*); do \
		test -f $$target -a -x $$target || continue; \
		corpus=build/fuzz/corpus/$$(basename $$target); mkdir -p $$corpus; \
		echo "$$target, $(S) s"; \
		$$target -max_total_time=$(S) -verbosity=0 -print_final_stats=1 -artifact_prefix=build/fuzz/found/ $$corpus \
			|| status=1; \
	done; exit $$status

fuzz-suites: dev ## random suites under plain pytest and hasten, N of them (N=1000) from number SEED on (SEED=1000); kept: build/fuzz-suites
	$(PY) tests/suites/generator --seeds $(SEED)-$$(($(SEED) + $(N) - 1)) $(ARGS)

fuzz-programs: dev ## random programs under coverage.py's C tracer and hasten's collector, N of them from number SEED on
	$(PY) tests/programs --seeds $(SEED)-$$(($(SEED) + $(N) - 1)) --jobs $(JOBS) $(ARGS)

# Quick and wide; all of tests/e2e by E2E=tests/e2e.
E2E ?= $(addprefix tests/e2e/test_,ends.py history.py input.py kills.py options.py screen.py starts.py trace_out.py)

coverage: dev ## lines of src/ that C units, tests/python and E2E run; a table
	$(MESON) setup $$(test -f build/cov/build.ninja && echo --reconfigure) build/cov -Db_coverage=true >/dev/null
	$(IN_VENV) ninja -C build/cov -j $(JOBS) --quiet
	find build/cov -name '*.gcda' -delete
	status=0; $(PY) tools/develop.py build/cov; trap '$(PY) tools/develop.py build/dev' EXIT; \
	$(MESON) test -C build/cov --print-errorlogs --num-processes $(JOBS) || status=1; \
	$(PYTEST) -q tests/python $(E2E) || status=1; \
	$(PY) tools/coverage.py build/cov; exit $$status

tidy: $(VENV)/.lint dev ## clang-tidy over src/ with build/dev's commands
	git ls-files 'src/*.c' | $(IN_VENV) xargs -P $(JOBS) -n 4 clang-tidy --quiet -p build/dev

fmt: $(VENV)/.lint ## rewrites C and Python in the project's format
	$(IN_VENV) clang-format -i $(C_FILES)
	$(BIN)/ruff format --quiet $(PY_FOLDERS)
	$(BIN)/ruff check --fix --quiet $(PY_FOLDERS)

fmt-check: $(VENV)/.lint ## says what fmt would change
	$(IN_VENV) clang-format --dry-run --Werror $(C_FILES)
	$(BIN)/ruff format --check --quiet $(PY_FOLDERS)

lint: $(VENV)/.lint dev ## ruff and strict mypy
	$(BIN)/ruff check $(PY_FOLDERS)
	$(BIN)/mypy

headers: ## every header compiles alone
	$(PYTHON) tools/headers.py

layers: ## includes point one way only
	$(PYTHON) tools/layers.py

sizes: ## files of at most 600 lines, functions of at most 80
	$(PYTHON) tools/sizes.py

bench: dev ## times of pytest, xdist and hasten on the corpus, interleaved; NAMES="jinja2" ARGS="--pairs 5"
	$(PY) bench/corpus.py prepare --hasten . $(NAMES)
	$(PY) bench/corpus.py time $(NAMES) $(ARGS)

corpus: dev ## the corpus: the same outcomes as plain pytest; NAMES="jinja2 click"
	$(PY) bench/corpus.py prepare --hasten . $(NAMES)
	$(PY) bench/corpus.py compare $(NAMES) $(ARGS)

ready: check asan lint fmt-check headers tidy ## what a commit must pass

dist: $(VENV)/.lint ## wheels for PYTHONS="python3.11 ..." in dist/, checked and repaired by auditwheel, and the source
	PY="$(abspath $(PY))" PATH="$(abspath $(BIN)):$$PATH" tools/dist.sh $(or $(PYTHONS),$(PYTHON))

docs: dev ## docs/reference/cli.md from the program's own help
	$(PY) tools/reference.py $(BIN)/hasten

clean: ## removes build/, .venv and dist
	rm -rf build dist $(VENV) compile_commands.json
