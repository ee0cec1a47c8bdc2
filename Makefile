# What one does with this checkout. The recipes are short; the work is in scripts/. CI runs the same ones.
.DEFAULT_GOAL := help
.PHONY: help setup demo test soak lint bench check

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## install what is missing: system packages, .venv from the lock (quick when nothing is)
	@scripts/setup.sh

demo: setup  ## the flagship lab: three web servers behind two balancers, broken, measured and mended
	@scripts/as-user.sh scripts/demo.sh

test: setup  ## every test: the pure ones here, the ones about the kernel as an ordinary user
	@scripts/test.sh

soak: setup  ## the same tests with many more random cases (hours)
	@TRENZA_SOAK=1 TRENZA_MUTANTS=10000 TRENZA_TEST_DEADLINE_S=14400 scripts/test.sh

lint: setup  ## ruff, mypy, and the arrows between packages
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports

bench: setup  ## measure; every figure says on what machine and at what size
	@scripts/bench.sh

check: lint test  ## lint and test, as CI does
