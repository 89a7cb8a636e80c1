# Both commands work from a fresh clone and may be repeated; what is installed already is not installed again.
#   make demo       the main job in a minute, on PyTorch
#   make test       style, types and all tests, on every backend
#   make test-long  the same, and the benchmarks
#   make lint       style and types alone
# Other pythons: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
PIP := pip --disable-pip-version-check install --quiet
# PyPI's torch for Linux brings several GB of CUDA; here is the CPU build. It is looked up for torch alone, so that a
# machine that cannot reach it only goes without.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
# With both cores busy, two threads a process are many times slower than one.
export OMP_NUM_THREADS ?= 1
export TF_CPP_MIN_LOG_LEVEL ?= 3
ifneq ($(wildcard ../shared/data),)
export FINETUNER_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test test-doclist test-long lint clean

demo: $(VENV)/.demo
	$(VENV)/bin/finetuner demo

test: $(VENV)/.test
	$(VENV)/bin/python tests/run.py

# docarray 0.4x and 0.21 cannot be installed together.
test-doclist: .venv-doclist/.test
	.venv-doclist/bin/python tests/run.py doclist

test-long: export FINETUNER_MATRIX := full
test-long: test test-doclist
	@for name in startup losses encode loop gradcache frozen tailor precision quality rates sentences quality_images left_out search evaluation; do echo "$$name"; $(VENV)/bin/python -m benchmarks.$$name || exit 1; done

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

clean:
	rm -rf build .venv .venv-doclist

%/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Finetuner needs Python 3.11: make PYTHON=…")'
	$(PYTHON) -m venv $*

$(VENV)/.torch: constraints.txt | $(VENV)/bin/python
	$(VENV)/bin/$(PIP) --no-deps --retries 1 --extra-index-url $(TORCH_INDEX) -c constraints.txt torch
	@touch $@

$(VENV)/.demo: pyproject.toml $(VENV)/.torch
	$(VENV)/bin/$(PIP) -c constraints.txt -e '.[torch,demo]'
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.torch
	$(VENV)/bin/$(PIP) -c constraints.txt -e '.[full,dev]'
	@touch $@ $(VENV)/.demo

.venv-doclist/.test: pyproject.toml constraints.txt | .venv-doclist/bin/python
	grep -v '^docarray==' constraints.txt > .venv-doclist/constraints.txt
	.venv-doclist/bin/$(PIP) -c .venv-doclist/constraints.txt -e . 'docarray>=0.40,<0.50' pytest pytest-timeout
	@touch $@
