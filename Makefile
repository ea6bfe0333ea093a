# People and CI call the same targets. demo, test and check build .venv when there is none.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo studio test test-slow test-gpu check fmt bench smoke clean

PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=

DEMO_IMAGE ?= examples/demo.jpg
DEMO_TRACKS ?= examples/demo_drag.json
DEMO_PROMPT ?= an orange dahlia moves right
DEMO_OUT ?= out/demo.mp4
BENCH ?= benchmarks/stream.py

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
TORCH_VERSION := $(shell sed -n 's/^torch==//p' constraints.txt)
TORCH_STAMP := $(VENV)/.stamp-torch-$(TORCH_VERSION)
CORE := $(VENV)/.stamp-core
DEV := $(VENV)/.stamp-dev
DEV_EXTRAS := dev,serve,data,eval,wan
EXTRA_INDEX := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo
	@echo "Variables: PYTHON=python3.12  TORCH_INDEX=<index with the torch build you want>  ARGS='more arguments'"

demo: $(CORE) ## a bundled photo and a bundled drag become out/demo.mp4; then, in a terminal, the studio opens
	@mkdir -p $(dir $(DEMO_OUT))
	$(VENV)/bin/motionstream generate $(DEMO_IMAGE) --prompt "$(DEMO_PROMPT)" --tracks $(DEMO_TRACKS) --contact-sheet -o $(DEMO_OUT) $(ARGS)
	@echo
	@echo "The video is $(DEMO_OUT), its contact sheet lies beside it."
	@echo "Next, try:"
	@echo "  draw yourself         make studio            (a page in the browser: drag things while the video runs)"
	@echo "  another seed          make demo ARGS='--seed 7'"
	@echo "  your own photo        $(VENV)/bin/motionstream generate PHOTO.jpg --prompt 'what moves' --tracks $(DEMO_TRACKS) -o out/mine.mp4"
	@echo "  see the drag          $(VENV)/bin/motionstream tracks draw --help"
	@echo "  all there is          $(VENV)/bin/motionstream --help"
	@echo
	@if [ -t 0 ] && [ -t 1 ] && [ -z "$${CI:-}" ]; then $(VENV)/bin/motionstream demo; \
		else echo "No terminal here, so the studio was not opened: make studio"; fi

studio: $(CORE) ## draw on a video while it is being made: opens a page in the browser (Ctrl-C ends it)
	$(VENV)/bin/motionstream demo $(ARGS)

test: $(DEV) ## the tests that run on any machine (no GPU, nothing slow)
	$(PY) -m pytest -q -m "not slow and not gpu" --durations=5 --durations-min=2 $(ARGS)

test-slow: $(DEV) ## the slow tests
	$(PY) -m pytest -q -m "slow and not gpu" $(ARGS)

test-gpu: $(DEV) ## the tests that need a CUDA device
	@$(PY) -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' \
		|| { echo "make test-gpu needs a CUDA device, and torch sees none here; 'make test' runs everything else." >&2; exit 2; }
	$(PY) -m pytest -q -m gpu $(ARGS)

check: $(DEV) ## format, lint, types, structure
	$(PY) -m ruff format --check --output-format concise .
	$(PY) -m ruff check --output-format concise .
	$(PY) -m mypy src
	$(PY) -m pytest -q tests/structure

fmt: $(DEV) ## format and fix what can be fixed
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

bench: $(CORE) ## speed and memory of streaming; the last line is JSON
	$(PY) $(BENCH) $(ARGS)

smoke: $(CORE) ## the installed command, end to end, on the smallest preset
	@mkdir -p out
	$(VENV)/bin/motionstream --help > /dev/null
	$(PY) -m motionstream --help > /dev/null
	$(VENV)/bin/motionstream info tiny-debug
	$(VENV)/bin/motionstream tracks info $(DEMO_TRACKS)
	$(VENV)/bin/motionstream generate $(DEMO_IMAGE) --preset tiny-debug --prompt smoke --tracks $(DEMO_TRACKS) --frames 9 -o out/smoke.mp4

clean: ## remove outputs and caches (the environment: rm -r .venv)
	rm -rf out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# --- the environment -------------------------------------------------------------------------------------------------

$(PY):
	@command -v $(PYTHON) > /dev/null \
		|| { echo "'$(PYTHON)' was not found; install Python 3.11 or newer, or name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "motionstream needs Python 3.11 or newer and '$(PYTHON)' is $$($(PYTHON) -V); name another: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null \
		|| { echo "'$(PYTHON)' cannot make virtual environments; on Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 2; }
	@echo "[setup] making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv $(VENV)

# torch comes first and by itself, so that nothing later chooses a build for us; one of the right version is kept.
$(TORCH_STAMP): | $(PY)
	@$(PY) -m pip --version > /dev/null 2>&1 || $(PY) -m ensurepip > /dev/null
	@has=$$($(PY) -c 'from importlib.metadata import version; print(version("torch").split("+")[0])' 2> /dev/null || true); \
	if [ "$$has" = "$(TORCH_VERSION)" ]; then \
		echo "[setup] torch $(TORCH_VERSION) is there already"; \
	elif nvidia-smi -L 2> /dev/null | grep -q GPU; then \
		echo "[setup] installing torch $(TORCH_VERSION) for the GPU found"; \
		$(PIP) install -c constraints.txt $(EXTRA_INDEX) torch==$(TORCH_VERSION); \
	else \
		echo "[setup] no GPU found: installing the CPU build of torch $(TORCH_VERSION), or the plain one where there is none"; \
		$(PIP) install -c constraints.txt $(EXTRA_INDEX) torch==$(TORCH_VERSION)+cpu 2> /dev/null \
			|| $(PIP) install -c constraints.txt $(EXTRA_INDEX) torch==$(TORCH_VERSION); \
	fi
	@touch $@

$(CORE): $(TORCH_STAMP) pyproject.toml constraints.txt
	@echo "[setup] installing motionstream"
	@$(PIP) install -q -c constraints.txt -e ".[serve]"
	@touch $@

$(DEV): $(TORCH_STAMP) pyproject.toml constraints.txt
	@echo "[setup] installing motionstream with [$(DEV_EXTRAS)]"
	@$(PIP) install -q -c constraints.txt -e ".[$(DEV_EXTRAS)]"
	@touch $(CORE) $@
