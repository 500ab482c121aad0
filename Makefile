# SPDX-License-Identifier: Apache-2.0
# The commands of the project. The build itself is CMakeLists.txt; its presets can be used directly.
JOBS ?= $(shell nproc)
SOURCES = $(shell git ls-files -co --exclude-standard '*.c' '*.h')

.PHONY: help build test test-threads test-ollama soak bench-sched install uninstall deb demo demo-cluster bench fuzz check format format-check clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

build: ## installs what the build needs and builds build/release/mcpgate
	@tools/deps build
	cmake --preset release
	cmake --build --preset release -j $(JOBS)

test: build ## installs what the tests need and runs all of them under ASan and UBSan
	@tools/deps test
	cmake --preset asan
	cmake --build --preset asan -j $(JOBS)
	ctest --preset asan -j $(JOBS)

# The system tests that race most: ends, cancels, many at once, nodes that come and go, what loops share.
RACY = system.(backends|batch|chaos|fleet|hostile_neighbours|http_gone|keys|limits|mcp_cancel|mcp_keys|nodes|observability
RACY := $(RACY)|queue|reload|request_trace|routes|share|soak)|regress.second_signal

test-threads: build ## the unit tests and the system tests that race most, under ThreadSanitizer
	@tools/deps test
	cmake --preset tsan
	cmake --build --preset tsan -j $(JOBS)
	ctest --preset tsan -L unit -j $(JOBS)
	ctest --preset tsan -R '^($(RACY))$$' -j $(JOBS)

test-ollama: ## a real Ollama, asked directly and through the gateway (built once, 10 minutes)
	@tools/deps ollama
	cmake --preset asan
	cmake --build --preset asan -j $(JOBS) --target mcpgate
	MCPGATE_BIN=build/asan/mcpgate timeout -k 10 1200 .cache/venv-test/bin/python -m pytest -q tests/ollama

REQUESTS ?= 100000
SOAK_SECONDS ?= 60

soak: build ## REQUESTS (100000) in virtual time, then the program in front of failing nodes for SOAK_SECONDS (60)
	@tools/deps test
	cmake --preset asan
	cmake --build --preset asan -j $(JOBS) --target mcpgate test_virtual_soak
	MCPGATE_SOAK=$(REQUESTS) build/asan/tests/test_virtual_soak
	MCPGATE_BIN=build/asan/mcpgate MCPGATE_SOAK_SECONDS=$(SOAK_SECONDS) timeout -k 10 600 \
	    .cache/venv-test/bin/python -m pytest -q -s tests/system/test_soak.py

PREFIX ?= /usr/local
# Under sudo, what is built stays its owner's.
AS_OWNER = $(if $(filter 0,$(shell id -u)),$(patsubst %,runuser -u % --,$(filter-out root,$(shell stat -c %U .))))

install: ## installs under PREFIX (/usr/local), below DESTDIR if one is given
	@tools/deps build
	$(AS_OWNER) cmake --preset release -DCMAKE_INSTALL_PREFIX=$(abspath $(PREFIX))
	$(AS_OWNER) cmake --build --preset release -j $(JOBS)
	DESTDIR=$(DESTDIR) cmake --install build/release
	@rm -f build/release/install_manifest.txt

uninstall: ## removes what `make install` with the same PREFIX and DESTDIR has put there
	@tools/uninstall $(abspath $(PREFIX)) $(DESTDIR)

deb: ## builds packages for this Debian into build/deb
	@tools/deps deb
	@tools/deb

demo: ## a real model answers through the gateway: installs, builds, runs
	@tools/deps demo
	@$(MAKE) --no-print-directory build
	@tools/demo

demo-cluster: ## three real models behind one gateway: two tenants, a node killed, one drained
	@tools/deps demo
	@$(MAKE) --no-print-directory build
	@tools/demo-cluster

BENCH_TARGETS = $(addprefix bench-,all http streams mcp backends idle start batch slots queue)
T ?= 2
ROUNDS ?= 5

bench: bench-all ## compares with a raw relay, nginx and HAProxy (docs/performance.md)

.PHONY: $(BENCH_TARGETS)
$(BENCH_TARGETS): bench-%:
	@tools/deps bench
	@$(MAKE) --no-print-directory build
	.cache/venv-bench/bin/python bench/run.py $* --seconds $(T) --rounds $(ROUNDS) $(if $(ENGINE),--engine $(ENGINE)) $(BENCH_OPTIONS)

bench-sched: build ## what a decision of the scheduler costs
	cmake --build --preset release -j $(JOBS) --target bench-sched
	build/release/bench/bench-sched $(T)

fuzz: T = 60
fuzz: ## fuzzes each target for T seconds (60), longer is better
	@tools/deps fuzz
	cmake --preset fuzz
	cmake --build --preset fuzz -j $(JOBS)
	@tools/fuzz --seconds $(T) $(FUZZ_OPTIONS)

check: format-check ## layers, headers, vectors, tree, pages and formatting (no build)
	python3 tools/check_layers.py
	python3 tools/check_headers.py
	python3 tools/check_vectors.py
	python3 tools/check_tree.py
	python3 tools/check_docs.py
	python3 -m unittest discover -q -s tests/tools

format-check:
	$(if $(SOURCES),clang-format --dry-run -Werror --ferror-limit=1 $(SOURCES))

format: ## formats the C sources in place
	$(if $(SOURCES),clang-format -i $(SOURCES))

clean: ## removes build/ (downloads and virtual environments stay in .cache/)
	rm -rf build
