#!/usr/bin/env bash
# Every benchmark, one after the other; each says its question, machine and size before its numbers.
set -euo pipefail
cd "$(dirname "$0")/.."
for program in bench/*.py; do
	.venv/bin/python "$program" "$@"
done
