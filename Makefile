# Everything from a fresh clone: `make demo` walks the miniature journey to a model that answers, `make test` passes the
# tests.
# Both build their own virtual environment in .venv with the tested versions of constraints.txt.

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python -m
PIP := $(RUN) pip install --quiet --constraint constraints.txt

.PHONY: demo demo-seeds test check soak format picture report-pictures clean

demo: $(VENV)/.demo
	$(RUN) cvl demo cvl-demo

# Three models from three seeds, to see that it was not luck.
demo-seeds: $(VENV)/.demo
	$(RUN) cvl demo cvl-demo --seeds 3

# Many tests wait for a clock or for a process: half as many again as there are cores keep them all busy.
test: $(VENV)/.dev
	PYTEST_XDIST_AUTO_NUM_WORKERS=$$(($$(nproc) * 3 / 2)) $(RUN) pytest --numprocesses auto

check: $(VENV)/.dev
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports --no-logo

# Kills a fetch, an unpacking and a conversion at random instants, many times over.
soak: $(VENV)/.dev
	$(RUN) pytest --numprocesses auto -m soak

format: $(VENV)/.dev
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

# The terminal picture of the README.
picture: $(VENV)/.demo
	$(RUN) cvl demo cvl-demo --record docs/demo.svg

# The pictures of docs/report.md.
report-pictures: $(VENV)/.dev
	REPORT_PICTURES=docs $(RUN) pytest tests/e2e/test_report_page.py -k pictures

clean:
	rm -rf $(VENV) cvl-demo build dist

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[demo]'
	touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/bin/python $(VENV)/.system
	$(PIP) --editable '.[dev]'
	touch $@

# A web server and a browser for the tests, where we may install them; where there are none, those tests are skipped.
$(VENV)/.system: | $(VENV)/bin/python
	@PATH="$$PATH:/usr/sbin"; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get && ! { command -v nginx && command -v chromium; }; then \
		apt-get -qq update; \
		DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends nginx chromium fonts-dejavu-core; \
	fi >/dev/null 2>&1 </dev/null || true
	@touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)
