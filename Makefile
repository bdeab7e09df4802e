# What can be done here, one target a task. `make` alone lists them.
# Every target makes .venv itself and brings it up to requirements.lock first.
# Paths are relative throughout, so the folder's own name may hold spaces.

PYTHON ?=
PORT   ?= 8000
CPU    ?=

BIN   := .venv/bin
PY    := $(BIN)/python
READY := .venv/ready
HTML  := _build/html
CODE  := aelib press tests benchmarks conftest.py
JOBS  ?= 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help install book pages test lint types unit colab colab-head colab-image links pdf dist release gpu serve bench lock address clean

help:
	@echo "make book      install, run every notebook whose code has changed, build the pages strictly"
	@echo "make pages     build them from the outputs that are stored; refuse where code has changed"
	@echo "make serve     show the built pages on http://127.0.0.1:$(PORT) (PORT=… for another)"
	@echo "make test      style, types, unit, property, notebook, book and browser tests"
	@echo "make lint      style of the code, and of the forge's workflows and forms"
	@echo "make types     types"
	@echo "make unit      the package's tests and their coverage; no pages, no browser, no notebooks"
	@echo "make gpu       what only a GPU can test; every lesson on it, and the engine's speed"
	@echo "make colab PYTHON=…"
	@echo "               install the wheel beside that Python's torch, run each notebook alone"
	@echo "make colab-head PYTHON=…"
	@echo "               let the set-up cell install aelib from the forge into a Python without it"
	@echo "make colab-image"
	@echo "               both of these in Colab's own image, which is large; needs docker"
	@echo "make links     ask the network whether every external link still leads somewhere"
	@echo "make pdf       the whole book as one file, through Chromium"
	@echo "make bench     time aelib against its peers"
	@echo "make lock      resolve the dependencies again and write requirements.lock"
	@echo "make address URL=https://github.com/you/fork"
	@echo "               put another repository's address, and its pages', everywhere they stand"
	@echo "make dist      the wheel, the pages in an archive, the PDF: what a release carries"
	@echo "make release   check that this can be released, test it, make it, say what to push"
	@echo "make install   only .venv"
	@echo "make clean     remove what was built; .venv stays (rm -r .venv removes it)"
	@echo
	@echo "PYTHON=python3.12 make book   picks the interpreter .venv is made with (3.10 to 3.13)"
	@echo "CPU=1 make install            leaves out what only a GPU needs (4 of the 6 GB)"
	@echo "JOBS=4 make test              runs four notebooks or files of tests at a time (default 2)"

install: $(READY)

# The stamp is written last, so an install cut short is done again.
$(READY): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" CPU="$(CPU)" sh press/install.sh
	@touch $@

book: $(READY)
	@$(PY) -m press.execute --jobs $(JOBS)
	@$(PY) -m press.build

# What goes online: nobody has looked at what a machine far away would run.
pages: $(READY)
	@$(PY) -m press.execute --check
	@$(PY) -m press.build

lint: $(READY)
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check $(CODE)
	@$(PY) -m check_jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(PY) -m check_jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	@$(PY) -m check_jsonschema --quiet --builtin-schema vendor.github-issue-forms \
		.github/ISSUE_TEMPLATE/[a-b]*.yml
	@$(PY) -m check_jsonschema --quiet --builtin-schema vendor.citation-file-format CITATION.cff
	@$(BIN)/zizmor --offline --quiet --no-progress .github

types: $(READY)
	@$(PY) -m pyright

test: lint types
	@$(PY) -m press.build
	@$(PY) -m pytest --nbval --doctest-modules -n $(JOBS) --dist loadfile --no-loadscope-reorder \
		aelib press tests chapters

# `book` is the mark of tests that need the built pages, a browser or the notebooks' last run.
unit: $(READY)
	@$(PY) -m pytest --doctest-modules -n $(JOBS) --dist loadfile -m "not book" \
		--cov=aelib --cov-report=term:skip-covered aelib press tests

# The Python is not .venv's: it is Colab's, or one made to look like it.
colab colab-head:
	@$(if $(PYTHON),,echo "Which Python? make $@ PYTHON=/path/to/python3" >&2; exit 1;) \
		"$(PYTHON)" -m press.alone $(if $(filter colab-head,$@),--from-the-forge)

# Not pinned: the newest image is what readers get. Each target finds it as it comes, without aelib.
COLAB := us-docker.pkg.dev/colab-images/public/runtime:latest
colab-image:
	@command -v docker >/dev/null || { echo "Colab's image needs docker to run it." >&2; exit 1; }
	@for target in colab colab-head; do \
		docker run --rm --entrypoint make -v "$$PWD:/book" -w /book $(COLAB) \
			$$target PYTHON=python3 || exit 1; \
	done

links: $(READY)
	@$(PY) -m press.build --links

pdf: $(READY)
	@$(PY) -m press.pdf --check
	@$(PY) -m press.build
	@$(PY) -m press.pdf

# Where a tag begins the release, TAG, it has to be the version's. Such words from outside reach the
# shell by the environment: in the line itself, what they hold would be run.
dist: $(READY)
	@$(PY) -m press.release check $${TAG:+"$$TAG"}
	@$(MAKE) pdf
	@$(PY) -m press.release make

release: $(READY)
	@$(PY) -m press.release check
	@$(MAKE) test dist
	@$(PY) -m press.release say

# Where there is no GPU this fails, so that nobody takes silence for a pass.
gpu: $(READY)
	@$(PY) -c "import sys, torch; sys.exit(not torch.cuda.is_available() and \
		'There is no CUDA device here, so nothing was tested on one and nothing timed.')"
	@$(PY) -m pytest -m gpu tests
	@$(PY) -m press.on_gpu
	@$(PY) benchmarks/run.py --only "inversion scale"

serve: $(READY)
	@test -f $(HTML)/index.html || { echo "There are no pages yet. Run: make book"; exit 1; }
	@echo "The book is at http://127.0.0.1:$(PORT)/ (Ctrl-C stops)"
	@$(PY) -m http.server --bind 127.0.0.1 --directory $(HTML) $(PORT)

# The peers are installed beside what the lock names, never instead of it.
bench: $(READY)
	@$(PY) -m pip install --quiet -r benchmarks/requirements.txt -c requirements.lock \
		|| echo "The peers cannot be installed; timing the rest."
	@$(PY) benchmarks/run.py

# One resolution for every platform and Python version we support.
lock: $(READY)
	@command -v uv >/dev/null || $(PY) -c "import uv" 2>/dev/null || $(PY) -m pip install --quiet uv
	@$$(command -v uv || echo "$(PY) -m uv") pip compile pyproject.toml --extra book --extra test --universal \
		--python-version 3.10 --no-annotate --upgrade \
		--custom-compile-command "make lock" -o requirements.lock

# Python's own library is enough, so nothing is installed for it.
address:
	@$(if $(PYTHON),"$(PYTHON)",python3) -m press.address "$$URL" "$$SITE"

clean:
	rm -rf _build build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .coverage*
	find aelib press tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
