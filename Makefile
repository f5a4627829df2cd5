# Sets odynn up and runs it; `make` says how.
# Every path here is relative: make has no way to name a target in a folder with a space in its name. So the folder
# that make runs in may be called anything.

CONFIG = config/config.yaml
CORES = $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 1)
# cpu or cuda; what .venv holds already, if anything.
EXTRA = $(firstword $(shell cat .venv/ready 2>/dev/null) cpu)
# A Python to use instead of those that are looked for.
PYTHON =

LOCK = requirements$(if $(filter cuda,$(EXTRA)),-cuda).lock
PYTHONS = $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11)
FITS = import sys, ensurepip, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
REPORTS = import sys; from odynn.config import load; c = load(sys.argv[1], check_recordings=False); \
  print(*(f"Report: {c.results / name}/report.html" for name in c.experiments), sep="\n")

# Nothing outside .venv may get in.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP
export PYTHONNOUSERSITE = 1

.PHONY: help run test check environment lock clean

help:
	@echo 'make run          set up .venv, run the experiments of config/config.yaml, say where the reports are'
	@echo 'make test         set up .venv, run the tests'
	@echo 'make check        set up .venv, check formats and lint'
	@echo 'make environment  set up .venv alone'
	@echo 'make lock         resolve the locked versions anew (needs uv)'
	@echo 'make clean        remove .venv and caches; results stay'
	@echo
	@echo 'Options: CONFIG=path/to/config.yaml  CORES=4  EXTRA=cuda (GPUs, on Linux x86-64)  PYTHON=/path/to/python3.12'

run: environment
	@.venv/bin/python -m odynn.cli check "$(CONFIG)"
	@.venv/bin/python -m snakemake --cores $(CORES) --configfile "$(CONFIG)"
	@.venv/bin/python -c '$(REPORTS)' "$(CONFIG)"

test: environment
	@.venv/bin/python -m pytest

check: environment
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m ruff format --check .
	@.venv/bin/python -m snakefmt --check workflow
	@.venv/bin/python -m pytest --quiet tests/workflow/test_style.py -k lint

# .venv/ready is written last and says what .venv was made for and from, and where: anything else is made anew.
environment:
	@case "$(EXTRA) $$(uname -sm)" in 'cpu '*|'cuda Linux x86_64') ;; *) \
	  echo "EXTRA must be cpu, or cuda on Linux x86-64. Received: $(EXTRA) on $$(uname -sm)." >&2; exit 2 ;; esac; \
	ready="$(EXTRA) $$(cat $(LOCK) pyproject.toml | cksum) $$(pwd)"; \
	if [ "$$(cat .venv/ready 2>/dev/null)" = "$$ready" ] && .venv/bin/python -c ''; then exit 0; fi; \
	for python in $(PYTHONS) ''; do "$$python" -c '$(FITS)' >/dev/null 2>&1 && break; done; \
	if [ -z "$$python" ]; then \
	  echo 'odynn needs Python 3.11, 3.12 or 3.13 with its venv module (Debian and Ubuntu: package python3-venv).' >&2; \
	  echo 'Tried: $(PYTHONS). Install one, or name it: make run PYTHON=/path/to/python3.12' >&2; exit 2; fi; \
	echo "Setting up .venv with $$("$$python" --version) and $(LOCK): downloads a few hundred MB (cuda: a few GB) …"; \
	"$$python" -m venv --clear .venv && \
	.venv/bin/python -m pip install -qq --no-input --require-hashes -r $(LOCK) && \
	.venv/bin/python -m pip install -qq --no-input --no-deps --no-build-isolation -e . && \
	echo "$$ready" > .venv/ready

# flit_core builds the package itself, which is then installed without looking for a newer one.
COMPILE = echo 'flit_core>=3.11,<4' | uv pip compile pyproject.toml - --quiet --upgrade --universal --python-version 3.11 \
  --fork-strategy fewest --prerelease disallow --generate-hashes --no-emit-index-url --no-emit-find-links \
  --custom-compile-command 'make lock' --extra recordings --extra features --extra workflow --extra test

lock:
	@$(COMPILE) --extra cpu --output-file requirements.lock
	@$(COMPILE) --extra cuda --constraint requirements.lock --output-file requirements-cuda.lock

clean:
	rm -rf .venv .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
