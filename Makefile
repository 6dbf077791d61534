.PHONY: try test lint format build clean

try:  ## install into .venv and classify a text
	python3 .ci/bootstrap.py try

test:  ## install the development extras and run the tests
	python3 .ci/bootstrap.py test

lint:  ## ruff and mypy
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format:  ## let ruff mend what it can
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

build:  ## wheel and source distribution in dist/
	.venv/bin/python -m pip install --quiet build
	.venv/bin/python -m build

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
