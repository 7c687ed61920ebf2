# Needs python3.11 or newer, make and a package index; everything else goes into .venv.
#
#   make demo     read the sample forms into demo/digitocr.db and show the numbers
#   make test     set up, then everything CI runs
#   make check    format, lint, types, imports, schema and tests, in what is set up
#   make golden · bench · soak      the sample forms whole · speed · what takes long
#   make lock     write the lock files anew from pyproject.toml
#   make clean    remove what was made; .venv stays

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header \
	--no-annotate --python-version 3.11 --python-platform x86_64-manylinux_2_28 pyproject.toml

export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
unexport PREFECT_API_URL

.PHONY: demo setup system test check golden bench soak lock clean
.DELETE_ON_ERROR:

demo: $(VENV)/.read
	mkdir -p demo
	@echo "Two of the sample scans are meant to fail: a letter, and a picture cut short."
	$(BIN)/digitocr process sample_forms/*/scans --forms sample_forms \
		--database sqlite:///demo/digitocr.db || [ $$? -eq 3 ]
	@echo "What was read:"
	$(BIN)/digitocr --quiet query --status accepted --limit 8 --database sqlite:///demo/digitocr.db
	@echo "What waits for a person, and why:"
	$(BIN)/digitocr --quiet query --status review --limit 8 --database sqlite:///demo/digitocr.db
	@echo "What failed:"
	$(BIN)/digitocr --quiet query --status failed --database sqlite:///demo/digitocr.db
	@echo
	@echo "The numbers are in demo/digitocr.db. From here:"
	@echo "  $(BIN)/digitocr export --database sqlite:///demo/digitocr.db   take them out as CSV"
	@echo "  README.md                                             add a form of your own"

setup: $(VENV)/.all

test: setup system
	$(MAKE) check

check: $(VENV)/.all
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	scratch=$$(mktemp -d) && url=sqlite:///$$scratch/empty.db && \
		$(BIN)/alembic -x url=$$url upgrade head && $(BIN)/alembic -x url=$$url check; \
		status=$$?; rm -rf "$$scratch"; exit $$status
	$(BIN)/python -m pytest -m "not soak"

golden: $(VENV)/.all
	$(BIN)/python -m pytest -s tests/golden

bench: $(VENV)/.all
	$(BIN)/python tests/bench/glyphs.py
	$(BIN)/python tests/bench/pages.py
	$(BIN)/python tests/bench/folder.py
	$(BIN)/python tests/bench/naive.py
	$(BIN)/python tests/bench/stress.py --pages 45

soak: $(VENV)/.all
	$(BIN)/python -m pytest -m soak

# --- setting up: a second run finds the stamps and does nothing

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: $(PYTHON) is no Python 3.11 or newer; name one with make PYTHON=…" >&2; \
		exit 1; }
	$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	touch $@

PROJECT := pyproject.toml setup.py $(VENV)/.python

# What reading needs, and nothing of TensorFlow or Prefect; `make test` adds the rest.
$(VENV)/.read: requirements-read.lock $(PROJECT)
	$(call install,requirements-read.lock,$(READING))
	touch $@

$(VENV)/.all: requirements.lock $(PROJECT)
	$(call install,requirements.lock,$(READING)$(comma) $(REST))
	touch $@ $(VENV)/.read

# digitocr itself from this folder; what builds it is in both lock files. What its commands import
# is compiled here: where Python is told to keep no bytecode, each start would take a second longer.
define install
	$(PIP) install --no-compile --require-hashes --requirement $(1)
	$(PIP) install --no-deps --no-build-isolation --editable .
	PYTHONDONTWRITEBYTECODE= TF_CPP_MIN_LOG_LEVEL=3 TF_ENABLE_ONEDNN_OPTS=0 \
		$(BIN)/python -c 'import $(2)'
endef
READING := alembic.command, skimage.morphology, digitocr.batch.running, digitocr.cli, digitocr.db.export
REST := fastapi, keras, matplotlib.pyplot, onnxruntime, prefect, tensorflow, uvicorn
comma := ,

# Only root can, and without them the tests that need them are skipped by name.
system:
	@missing=; \
	command -v pdftoppm >/dev/null || missing="$$missing poppler-utils"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	if [ -n "$$missing" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		echo "installing$$missing"; \
		export DEBIAN_FRONTEND=noninteractive; \
		once="-qq -o Acquire::Retries=1 -o Acquire::http::Timeout=30"; \
		{ timeout 300 apt-get $$once update && \
		timeout 600 apt-get $$once install --yes --no-install-recommends $$missing; } \
			>/dev/null || echo "could not install$$missing: their tests are skipped"; \
	fi

lock: $(VENV)/.all
	$(COMPILE) --all-extras --group dev --group build --output-file requirements.lock
	$(COMPILE) --group build --constraint requirements.lock \
		--output-file requirements-read.lock
	! grep -n '://' requirements.lock requirements-read.lock

clean:
	rm -rf demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find digitocr flows tests alembic -name __pycache__ -prune -exec rm -rf {} +
