# make demo           reads the pages in examples/ with the built-in model; needs only Python 3.11 or newer
# make test           installs everything and runs all tests
# make check          format, lint, types, tests with coverage: what a change must pass
# make fuzz           damages files of every kind and opens them: MINUTES=10
# make fault          ends runs at random moments, fills disks, and compares what is resumed: [ROUNDS=100] of each
# make train-builtin  trains a model as the first run of the one that ships: DATA=DIR [SOURCES=open|medieval|fast]
#                     [OUTPUT=runs/builtin]. open, medieval: the models of these names; fast: a smaller network
# make train-segmenter  trains the line finder that ships: DATA=DIR [MINUTES=60] [OUTPUT=runs/segmenter]

PYTHON ?= python3
VENV ?= .venv
DEMO_VENV ?= .venv-demo
PIP_FLAGS = --disable-pip-version-check --quiet
SOURCES ?= all
ifneq ($(words $(SOURCES)) $(filter all open medieval fast,$(SOURCES)),1 $(SOURCES))
$(error SOURCES must be all, open, medieval or fast, got $(SOURCES))
endif
PRESET = $(patsubst fast,builtin-fast,$(patsubst all,builtin,$(SOURCES)))
OUTPUT ?= runs/$(PRESET)

FUZZ_MINUTES := $(or $(MINUTES),10)
MINUTES ?= 60
ROUNDS ?= 100
COLLECTIONS = copiste timeus hooker
SEGMENTER_OUTPUT = $(if $(filter command% environment%,$(origin OUTPUT)),$(OUTPUT),runs/segmenter)

.PHONY: demo test check fuzz fault train-builtin train-segmenter data-is-there clean

demo: $(DEMO_VENV)/installed
	@$(DEMO_VENV)/bin/quill read examples/*.jpg

# Not an editable install, so any change of the source makes it anew.
$(DEMO_VENV)/installed: pyproject.toml constraints.txt $(shell find src -type f -not -path "*/__pycache__/*" -not -path "*.egg-info/*")
	@$(PYTHON) -m venv $(DEMO_VENV) >&2
	@$(DEMO_VENV)/bin/pip install $(PIP_FLAGS) -c constraints.txt . >&2
	@touch $@

# torch is named by its exact version and alone: a looser requirement may bring a GPU build of several gigabytes.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install $(PIP_FLAGS) "$$(grep '^torch==' constraints.txt)"
	$(VENV)/bin/pip install $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	touch $@

# The unit tests wait half of their time, so files of them run side by side; a process may take 3 GB. The others start
# programs, browsers and clusters of their own.
SIDE_BY_SIDE = --numprocesses logical --maxprocesses 4 --dist loadfile

test: $(VENV)/installed
	$(VENV)/bin/pytest tests/unit $(SIDE_BY_SIDE); code=$$?; \
	  $(VENV)/bin/pytest tests --ignore tests/unit && exit $$code

check: $(VENV)/installed
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest --cov --cov-report=term-missing:skip-covered

fuzz: $(VENV)/installed
	$(VENV)/bin/python tests/fuzz/run.py --minutes $(FUZZ_MINUTES)

# A part of the tests, at length.
fault: $(VENV)/installed
	FAULT_ROUNDS=$(ROUNDS) $(VENV)/bin/pytest tests/integration/test_fault.py

# Before anything is installed for it.
data-is-there:
	@test -d "$(DATA)" || { echo "usage: make train-builtin|train-segmenter DATA=DIR ..., a folder with the data sets" >&2; exit 2; }

# Where the lines of the sources can be cut between words; the shipped model reads them for it.
CUTS = $(if $(filter all fast,$(SOURCES)),$(patsubst %,runs/cuts/%.jsonl,iam-line copiste timeus hooker poilus))

runs/cuts/%.jsonl: | $(VENV)/installed
	@mkdir -p runs/cuts
	$(VENV)/bin/quill data cuts hub:$(abspath $(DATA))/$* --output $@

train-builtin: data-is-there $(VENV)/installed $(CUTS)
	$(VENV)/bin/quill -v train --config $(PRESET) --set root=$(abspath $(DATA)) --output $(OUTPUT) \
	  $$(ls -d $(OUTPUT)/checkpoint-* >/dev/null 2>&1 && echo --resume)

train-segmenter: data-is-there $(VENV)/installed
	$(VENV)/bin/quill -v train-segmenter --output $(SEGMENTER_OUTPUT) --set minutes=$(MINUTES) --set steps=200000 \
	  $(foreach name,$(COLLECTIONS),--pages $(DATA)/pages/train/$(name) --validation $(DATA)/pages/validation/$(name)) \
	  --lines strokes:$(DATA)/iam-ondb/strokes.npz --lines hub:$(DATA)/iam-line \
	  --lines "fonts:$(DATA)/../fonts?text=$(DATA)/../text/en.txt&text=$(DATA)/../text/fr.txt" \
	  $$(test -f $(SEGMENTER_OUTPUT)/checkpoint.pt && echo --resume)

clean:
	rm -rf $(VENV) $(DEMO_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .coverage
