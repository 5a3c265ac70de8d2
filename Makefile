VENV := .venv
RUN := $(VENV)/bin
UV := $(RUN)/uv
READY := $(VENV)/.ready
# Networks that look into TLS have their own authority in the system's store.
export UV_SYSTEM_CERTS ?= 1
CODE := src plugins providers tests benchmarks migrations

.PHONY: venv up test check fix bench openapi
venv: $(READY)

$(UV):
	python3 -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check uv

$(READY): $(UV) uv.lock pyproject.toml $(wildcard plugins/*/pyproject.toml providers/*/pyproject.toml)
	$(UV) sync --quiet --frozen --all-packages --compile-bytecode
	touch $(READY)

up: $(READY)
	$(RUN)/folkmoot up

check: $(READY)
	$(RUN)/ruff check $(CODE)
	$(RUN)/ruff format --check $(CODE)
	$(RUN)/pyright
	$(RUN)/lint-imports

test: check
	$(RUN)/python -m pytest -n auto --dist loadfile

fix: $(READY)
	$(RUN)/ruff check --fix $(CODE)
	$(RUN)/ruff format $(CODE)

bench: $(READY)
	$(RUN)/python -m benchmarks $(if $(CORPORA),--corpora $(CORPORA))

openapi: $(READY)
	$(RUN)/folkmoot openapi > docs/openapi.json
