# Each target sets up what it needs first: `make pretrain` the package, `make test` its tools too.
# The first of these that runs is used; `make PYTHON=/path/to/python3` names another.
PYTHONS := python3.11 python3.12 python3.13 python3 python
SUITABLE := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for name in $(PYTHONS); do \
    $$name -c '$(SUITABLE)' 2>/dev/null && echo $$name && break; done)
VENV ?= .venv
WORKDIR ?= runs/digits
RUN := $(VENV)/bin
INSTALL := $(RUN)/pip install --quiet --constraint constraints.txt --editable
BENCHMARKS ?= loss views step end_to_end photos memory startup collectives formats

.PHONY: pretrain test test-all tests lint docs bench bench-setup clean

pretrain: $(VENV)/installed  ## Pretrain on digits: two to seven minutes on two cores.
	$(RUN)/keras-bt pretrain --recipe=digits --workdir=$(WORKDIR)

# Types are checked while the first tests run.
test: $(VENV)/installed-dev  ## Lint, types and the quick tests: a few minutes on two cores.
	$(MAKE) --no-print-directory --jobs=2 lint tests SELECT='not slow' COVERAGE=85

test-all: $(VENV)/installed-dev  ## Lint, types and all tests: half an hour to an hour and a half.
	$(MAKE) --no-print-directory --jobs=2 lint tests SELECT='' COVERAGE=95

tests: $(VENV)/installed-dev
	$(RUN)/pytest --numprocesses=2 --dist=worksteal --durations=10 -m '$(SELECT)' \
	    --cov --cov-report= $(APPEND)
	$(RUN)/coverage report --fail-under=$(COVERAGE)

lint: $(VENV)/installed-dev
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy

docs: $(VENV)/installed-docs  ## The documentation as a site, in build/docs; faults of pages end it.
	$(RUN)/python docs/write_reference.py
	$(RUN)/python docs/write_notebook.py
	$(RUN)/sphinx-build -W --keep-going -q docs build/docs
	@echo build/docs/index.html

bench: $(VENV)/installed-dev  ## Measure this machine for RESULTS.md and the tables of README.md: about forty minutes.
	set -e; for name in $(BENCHMARKS); do \
	    $(RUN)/python benchmarks/$$name.py > results/$$name.new; \
	    mv results/$$name.new results/$$name.jsonl; \
	done
	$(RUN)/python benchmarks/report.py

bench-setup: .venv-bench/installed  ## What `make bench` measures keras_bt beside: PyTorch and others.

.venv-bench/installed: benchmarks/peers.txt | python
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --requirement benchmarks/peers.txt
	touch $@

$(VENV)/installed: setup.py constraints.txt | python
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) '.[dev]'
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(INSTALL) '.[docs]'
	touch $@

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "keras_bt needs Python 3.11, 3.12 or 3.13; none of" \
	    "$(PYTHONS) is one. Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }

clean:
	rm -rf $(VENV) .venv-bench build dist *.egg-info .coverage
