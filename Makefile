# On a fresh machine with Python 3.11 and make, each of these sets up what it needs first.
PYTHON ?= python3.11
VENV ?= .venv
WORKDIR ?= runs/digits
RUN := $(VENV)/bin

.PHONY: pretrain test bench lint clean

pretrain: $(VENV)/installed  ## Pretrain on digits: two to three minutes on two cores.
	$(RUN)/python examples/pretrain.py --recipe=digits --workdir=$(WORKDIR)

test: lint  ## Lint, types, then every test, documentation examples among them.
	$(RUN)/pytest --numprocesses=2 --dist=loadfile -m ''

bench: $(VENV)/installed  ## Measure what RESULTS.md tells of this machine: three minutes.
	$(RUN)/python benchmarks/collectives.py > results/collectives.jsonl
	$(RUN)/python benchmarks/report.py

lint: $(VENV)/installed
	$(RUN)/ruff format --check .
	$(RUN)/ruff check .
	$(RUN)/mypy

$(VENV)/installed: setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
