# On a fresh machine with Python 3.11 and make, each of these sets up what it needs first.
PYTHON ?= python3.11
VENV ?= .venv
WORKDIR ?= runs/digits
RUN := $(VENV)/bin
BENCHMARKS ?= loss views step end_to_end memory startup collectives formats

.PHONY: pretrain test test-all bench bench-setup lint clean

pretrain: $(VENV)/installed  ## Pretrain on digits: two to three minutes on two cores.
	$(RUN)/keras-bt pretrain --recipe=digits --workdir=$(WORKDIR)

test: lint  ## Lint, types, then the tests, documentation examples among them.
	$(RUN)/pytest --numprocesses=2 --dist=loadfile -m 'not variant'

test-all: lint  ## The same, and slow tests in other circumstances too.
	$(RUN)/pytest --numprocesses=2 --dist=loadfile -m ''

bench: $(VENV)/installed  ## Measure all that RESULTS.md tells of this machine: about forty minutes.
	set -e; for name in $(BENCHMARKS); do \
	    $(RUN)/python benchmarks/$$name.py > results/$$name.new; \
	    mv results/$$name.new results/$$name.jsonl; \
	done
	$(RUN)/python benchmarks/report.py

bench-setup: .venv-bench/installed  ## What `make bench` measures keras_bt beside: PyTorch and others.

.venv-bench/installed: benchmarks/peers.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/pip install --quiet --requirement benchmarks/peers.txt
	touch $@

lint: $(VENV)/installed
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy

$(VENV)/installed: setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .venv-bench build dist *.egg-info
