# Tritone: neural audio codecs on Triton. 'make' lists the targets.

CODEC ?= nanocodec_mini
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
CODECS ?=
CHECKPOINT ?=
AUDIO ?= samples/speech.wav
REPOSITORY ?= artifacts/model_repository
COMPILED := pesq==0.0.4

# Paths may have spaces and quotes in them, so recipes read them from their environment. A ~ in front is the
# home folder, as many shells leave it behind a = sign.
export AUDIO CHECKPOINT REPOSITORY
export TRITONE_CACHE ?= $(CURDIR)/.cache
path = "$${$(1)/\#\~\//$$HOME/}"
from_checkpoint = $(if $(CHECKPOINT),--checkpoint $(call path,CHECKPOINT))

BIN := .venv/bin
READY := .venv/.ready
PAGE := .venv/.page
ENGINES := .venv/.engines
DOCS := .venv/.docs
AUDIT := .cache/audit
MANIFESTS := $(filter-out %/kustomization.yaml %/prometheus-adapter.yaml,$(wildcard deploy/kubernetes/*.yaml))
SOURCES := runtime/tritone_runtime server/tritone_server build/tritone_build client/tritone_client examples scripts tests

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint format models engines serve page fidelity engines-check bench load faults numbers docs audit train clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22
	@echo
	@echo "  variables: CODEC=$(CODEC) CHECKPOINT=file-or-hub-id AUDIO=$$AUDIO REPOSITORY=$$REPOSITORY PYTHON=$(PYTHON)"

$(READY): requirements.txt $(wildcard */pyproject.toml)
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11, 3.12 or 3.13 is needed: Triton has a Python backend for these; name one with PYTHON=..." >&2; exit 1; }
	@echo "setting up .venv (once; PyTorch is most of it) ..."
	@test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	@$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt -e runtime -e 'client[audio,gateway,local,opus]' -e server -e build \
	  | sed -nE 's/^Collecting ([^ ]+).*/  \1/p; s/^Installing collected packages.*/installing .../p'
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet $(COMPILED) 2> /dev/null || \
	  echo "  no C compiler: PESQ is left out of the tables"
	@touch $@

$(PAGE): $(READY) requirements-page.txt
	@echo "setting up the page (once) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements-page.txt -e 'client[page]'
	@touch $@

$(ENGINES): $(READY) requirements-engines.txt
	@echo "setting up TensorRT-RTX (once) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements-engines.txt
	@touch $@

$(DOCS): $(READY) requirements-docs.txt
	@echo "setting up the generator of the documentation (once) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet -r requirements-docs.txt
	@touch $@

$(AUDIT)/bin/pip-audit:
	@"$(PYTHON)" -m venv $(AUDIT)
	@$(AUDIT)/bin/python -m pip install --disable-pip-version-check --quiet pip-audit==2.10.1

demo: $(READY) ## serve a codec, encode speech, decode the tokens, compare with the reference
	@$(BIN)/python -m scripts.demo --codec $(CODEC) --audio $(call path,AUDIO) $(from_checkpoint)

test: $(PAGE) $(ENGINES) $(DOCS) ## run the tests, on the real server
	@$(BIN)/python -m pytest -q --numprocesses 2

lint: $(PAGE) ## check style, types and manifests
	@$(BIN)/ruff format --check --quiet . || { echo "run 'make format'" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary $(SOURCES)
	@$(BIN)/kubernetes-validate --strict --quiet --no-warn $(MANIFESTS)

format: $(READY) ## rewrite the sources in the house style
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

models: $(READY) ## build CODEC's models from CHECKPOINT (default: the published one, from the hub or with the package)
	@$(BIN)/tritone-build models $(CODEC) --repository $(call path,REPOSITORY) $(from_checkpoint)

engines: $(ENGINES) ## compile CODEC's models with TensorRT, in FP16, into model_repository
	@$(BIN)/tritone-build engines $(CODEC) --repository model_repository $(from_checkpoint)

serve: $(READY) ## serve CODEC on loopback until interrupted
	@$(BIN)/tritone-serve $(CODEC) --repository $(call path,REPOSITORY)

page: $(PAGE) ## hear the codecs of the running server in a browser
	@$(BIN)/tritone page

fidelity: $(ENGINES) ## compare every codec, through Triton, with its reference; reports/fidelity.json
	@$(BIN)/python -m scripts.fidelity

engines-check: $(ENGINES) ## compile the engines of CODECS (default: all) on the CPU; compare their graphs with FP32
	@$(BIN)/python -m scripts.fidelity.engines $(if $(CODECS),--codec $(CODECS))

# A row that falls short ends these with status 1; what comes after them is wanted all the same.
bench: $(READY) ## time every codec beside its peers; reports/bench.json
	-@GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(BIN)/python -m scripts.bench

load: $(READY) ## put real-time load on the server, overload, and a soak; reports/load.json
	-@$(BIN)/python -m scripts.load

faults: $(READY) ## kill and cut off servers under live streams, and attack one; reports/faults.json
	@$(BIN)/python -m scripts.faults

numbers: $(READY) ## write docs/benchmarks.md from what bench and load measured
	@$(BIN)/python -m scripts.numbers

docs: $(DOCS) ## build the documentation as a site, broken links being errors; artifacts/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

audit: $(READY) $(AUDIT)/bin/pip-audit ## compare what is installed with the public list of known holes
	@$(AUDIT)/bin/pip-audit --strict --skip-editable --progress-spinner off \
	  --path "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

train: $(READY) ## train nanocodec_mini again, within hours; artifacts/mini
	@$(BIN)/python -m scripts.train

clean: ## remove what the commands made, .venv and the caches included
	rm -rf .venv .cache artifacts reports .mypy_cache .ruff_cache .pytest_cache .hypothesis
