# One command each. Everything is installed into .venv; nothing outside it is touched, except for
# system libraries, which are installed by apt when you are root and named otherwise.

PYTHON ?= python3
# Another build of torch: make train TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
CONFIG ?= configs/demo.yaml

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: train view test test-slow lint doctor clean

train: $(VENV)/.core
	$(BIN)/python tools/train.py $(CONFIG)
	$(BIN)/python tools/evaluate.py runs/latest
	$(BIN)/python tools/view.py runs/latest --engine files

view: $(VENV)/.all
	$(BIN)/python tools/view.py runs/latest

test: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(VENV)/.all
	$(BIN)/python -m pytest -m "slow and not gpu and not display"

lint: $(VENV)/.all
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

doctor: $(VENV)/.core
	$(BIN)/python tools/doctor.py

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: $(VENV)/bin/python pyproject.toml constraints.txt
	@echo "installing pointae into $(VENV): about two minutes the first time"
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(PIP) --editable .
	@touch $@

$(VENV)/.all: $(VENV)/.core
	@sh tools/system_libraries.sh
	$(PIP) --editable '.[dev,fast,view,open3d,gpu,sweep,latent,xlsx,parquet]'
	@touch $@
