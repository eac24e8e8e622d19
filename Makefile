# The commands of the project; a bare `make` lists them. PYTHON=python3.12 make ... picks another interpreter.
PYTHON ?= python3
UV ?= uv
PY := .venv/bin/python
PIP := -m pip --disable-pip-version-check install -qq

# What is installed is remembered in .venv under a name that contains the checksum of what it was installed from, so that
# a changed lock installs again and an unchanged one never does.
sum = $(shell cat $(1) | cksum | cut -d' ' -f1)
RUNTIME := .venv/runtime-$(call sum,requirements.lock settings.ini setup.py)
DEV := .venv/dev-$(call sum,requirements-dev.lock settings.ini setup.py)
DOCS := .venv/docs-$(call sum,requirements-docs.lock)

# The same for the environment of the oldest versions that the package admits.
OLD := .venv-oldest/bin/python
OLDEST := .venv-oldest/ready-$(call sum,requirements-oldest.lock settings.ini setup.py)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test test-all test-oldest notebooks lab docs docs-serve export readme lock clean

help:  ## list these commands
	@echo "make demo and make test install what they need into .venv the first time."
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \2/p' $(MAKEFILE_LIST) | awk '{ printf "  make %-12s", $$2; $$1 = $$2 = ""; print }'

# Test files are dealt out to the cores; the files stay whole, so that each sets up once what its tests share.
SPREAD := -n auto --maxprocesses 4 --dist loadfile

# The network is small: one thread is nearly as fast as several, and does not wait for cores that others use.
demo test test-all test-oldest: export OMP_NUM_THREADS ?= 1

demo: $(RUNTIME)  ## train the agent on synthetic days and show what it earns on days it never saw
	@$(PY) -m eod_exit_ppo demo

test: $(DEV) $(DOCS)  ## check everything: notebooks, modules, README, style, tests, wheel
	@$(PY) tools/check.py
	@$(PY) tools/readme.py --check
	@$(PY) -m ruff check .
	@$(PY) tools/notebooks.py
	@$(PY) -m pytest -rs tests $(SPREAD)

test-all: export EOD_ALL := 1
test-all: test  ## the same with the long form of every test: all pages, all days, all notebooks in JupyterLab

test-oldest: $(OLDEST)  ## run notebooks and tests with the oldest versions that the package admits
	@$(OLD) -c 'import numpy, pandas, torch; print(*(f"{m.__name__} {m.__version__}" for m in (numpy, pandas, torch)), sep=", ")'
	@$(OLD) tools/notebooks.py
	@$(OLD) -m pytest -rs tests --ignore tests/test_wheel.py --ignore tests/test_repository.py $(SPREAD)

notebooks: $(DEV)  ## run every cell of every notebook, slow ones too, and save the outputs
	@$(PY) tools/notebooks.py --slow --save

lab: $(DEV)  ## open the notebooks in JupyterLab
	@$(PY) -m jupyter lab --notebook-dir=nbs

docs: $(DOCS)  ## build the documentation site into _docs/html (Python 3.11 or later)
	@$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "The site needs Python 3.11 or later: make clean, then make PYTHON=python3.12 docs")'
	@$(PY) -m sphinx -q -W --keep-going -b html -d _docs/doctrees docs _docs/html
	@echo "The site is in _docs/html; make docs-serve shows it"

docs-serve: docs  ## show the site at http://localhost:8000
	@$(PY) -m http.server --bind 127.0.0.1 --directory _docs/html 8000

export: $(DEV)  ## clean the notebooks and write the modules and README.md from them
	@$(PY) -c "from nbdev.clean import nbdev_clean; nbdev_clean()"
	@$(PY) -c "from nbdev.doclinks import nbdev_export; nbdev_export()"
	@$(PY) tools/readme.py

readme: $(DEV)  ## write README.md from nbs/index.ipynb
	@$(PY) tools/readme.py

lock:  ## pin the requirements of settings.ini again (needs uv)
	@$(PYTHON) tools/lock.py --uv $(UV)

clean:  ## remove .venv and everything else that was built
	rm -rf .venv .venv-oldest _docs build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ensurepip comes last when an environment is made: where pip is, the environment is whole
%/bin/pip:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and f"This needs Python 3.10 or later, and $(PYTHON) is {v[0]}.{v[1]}: try make PYTHON=python3.12")'
	@echo "Making $*"
	@$(PYTHON) -m venv $*

$(OLDEST): | .venv-oldest/bin/pip
	@echo "Installing requirements-oldest.lock into .venv-oldest (once)"
	@$(OLD) $(PIP) -r requirements-oldest.lock
	@$(OLD) $(PIP) --no-deps --no-build-isolation --editable .
	@rm -f .venv-oldest/ready-*
	@touch $@

$(RUNTIME): | .venv/bin/pip
	@echo "Installing requirements.lock into .venv (once)"
	@$(PY) $(PIP) -r requirements.lock
	@$(PY) $(PIP) --no-deps --no-build-isolation --editable .
	@rm -f .venv/runtime-*
	@touch $@

# for Python 3.10 this lock is empty, and the tests of the site are skipped
$(DOCS): | .venv/bin/pip
	@echo "Installing requirements-docs.lock into .venv (once)"
	@$(PY) $(PIP) -r requirements-docs.lock
	@rm -f .venv/docs-*
	@touch $@

$(DEV): | $(RUNTIME)
	@echo "Installing requirements-dev.lock into .venv (once)"
	@$(PY) $(PIP) -r requirements-dev.lock
	@rm -f .venv/dev-*
	@touch $@
