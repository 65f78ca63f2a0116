# Everything runs in .venv, built from the pinned versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
WEIGHTS ?= alexnet

.PHONY: demo test test-all campaign lint docs weights bench bench-proposals bench-growth clean

demo: .venv/ready weights
	$(BIN)/python tools/demo.py

# Two processes, each with one thread for its matrix products.
PROCESSES ?= 2
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) --dist

test: .venv/ready
	$(PYTEST) loadfile -m "not slow"

# SELECT="-m slow" runs only what `make test` leaves out.
test-all: .venv/ready
	$(PYTEST) loadgroup $(SELECT)

MINUTES ?= 60

# Damaged inputs, killed trainings, full disks, a crowded server; see docs/security.md.
campaign: .venv/ready
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.campaign --minutes $(MINUTES)

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation as a site in site/, with the API reference; it opens without a server.
docs: .venv/ready
	$(BIN)/mkdocs build --strict

weights: .venv/ready
	$(BIN)/python tools/fetch_weights.py $(WEIGHTS)

DEVKIT ?= datasets/VOCdevkit

# OpenCV's contrib build owns the folder of opencv-python, so it gets an environment of its own.
bench-proposals: .venv/ready .venv-contrib/ready
	$(BIN)/python benchmarks/proposals.py --devkit $(DEVKIT) --peer .venv-contrib/bin/python

TRAIN ?= trainval
TEST ?= test
RUN ?= runs/bench
VOC = --voc2007 --devkit $(DEVKIT) --run $(RUN) --train-split $(TRAIN) --test-split $(TEST)

# Every comparison with what people would use instead; each writes benchmarks/results/NAME.json. About half an hour.
bench: bench-proposals
	for name in pooling rcnn detectors cache startup; do \
	  $(BIN)/python benchmarks/$$name.py --devkit $(DEVKIT) --split $(TEST) || exit 1; done
	$(BIN)/python benchmarks/suppression.py
	$(BIN)/python benchmarks/evaluation.py --devkit $(DEVKIT) --split $(TEST)
	$(BIN)/python tools/extract_features.py $(VOC) --scales 688 --limit 284
	$(BIN)/python benchmarks/svms.py --devkit $(DEVKIT) --run $(RUN) --train-split $(TRAIN) --test-split $(TEST)
	$(BIN)/python benchmarks/table.py

# How time and memory grow; about three quarters of an hour on all of trainval.
bench-growth: .venv/ready
	$(BIN)/python tools/extract_features.py $(VOC) --scales 688
	$(BIN)/python benchmarks/growth.py --devkit $(DEVKIT) --run $(RUN) --train-split $(TRAIN)

.venv-contrib/ready:
	$(PYTHON) -m venv .venv-contrib
	.venv-contrib/bin/python -m pip install --quiet opencv-contrib-python==5.0.0.93 numpy
	touch $@

# Its dependencies are not ours, so it gets an environment of its own: 1 GB. A slow test labels photos in it.
.venv-label-studio/ready:
	$(PYTHON) -m venv .venv-label-studio
	.venv-label-studio/bin/python -m pip install --quiet label-studio==1.23.2
	touch $@

.venv/ready: setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-contrib .venv-label-studio build dist *.egg-info
