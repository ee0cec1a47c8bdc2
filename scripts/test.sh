#!/usr/bin/env bash
# Every test, in two runs of pytest: what is pure (and the few kernel tests marked `as_root`) as whoever calls this, on
# every core; then what needs the kernel, as an ordinary user. Both run even if the first fails.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=1
# The ordinary user may not write into the checkout: no caches there.
pytest=("$PWD/.venv/bin/python" -m pytest -q -p no:cacheprovider)
status=0
"${pytest[@]}" -n 2 --dist worksteal -m "not kernel or as_root" tests "$@" || status=$?
scripts/as-user.sh "${pytest[@]}" -m kernel tests "$@" || status=$?
exit "$status"
