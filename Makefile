# Everything sets up what it needs: a fresh clone with Python 3.11 and make is enough.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export JUPYTER_PLATFORM_DIRS := 1

.PHONY: help env data repro test docs lab bench readme lock
help:  ## show this help
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

.venv/.ready: settings.ini requirements.lock setup.py tools/setup_env.py
	@$(PYTHON) tools/setup_env.py dev postgres redis spark

env: .venv/.ready  ## make the environment in .venv

data: .venv/.ready  ## get the bundled data, and registered models, from the remote inside the repository
	@dvc pull --quiet data.dvc $(wildcard registry/models/*.dvc)

repro: data  ## run the pipeline, end with one screen
	@mlsys repro

test: data  ## run every test
	@python -m pytest -n 2 --dist worksteal --durations 25

docs: .venv/.ready  ## build the site into _docs/
	@mlsys docs

lab: data  ## open JupyterLab on the notebooks
	@jupyter lab nbs

bench: .venv/.ready  ## measure the runner beside papermill
	@python benchmarks/pipeline.py

readme: .venv/.ready  ## write README.md from nbs/index.ipynb
	@python -c "from pathlib import Path; from mlsys.site.readme import write_readme; write_readme(Path('.'))"

lock: .venv/.ready  ## pin every version of settings.ini's requirements
	@python tools/lock.py
