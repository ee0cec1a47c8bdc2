#!/usr/bin/env bash
# Every test, in two runs of pytest: what is pure (and the few kernel tests marked `as_root`) as whoever calls this, on
# every core; then what needs the kernel, as an ordinary user, two files at a time: they wait for timers more than they
# compute. Both run even if the first fails.
set -uo pipefail
cd "$(dirname "$0")/.."
export PYTHONDONTWRITEBYTECODE=1
# The ordinary user may not write into the checkout: no caches there. A run that hangs is ended, and has failed.
pytest=(timeout --foreground --kill-after=30 "${TRENZA_TEST_DEADLINE_S:-1200}" "$PWD/.venv/bin/python" -m pytest -q -p no:cacheprovider)
status=0
scripts/in-the-open.sh "${pytest[@]}" -n 2 --dist worksteal -m "not kernel or as_root" tests "$@" || status=$?
scripts/as-user.sh "${pytest[@]}" -n 2 --dist loadfile -m kernel tests "$@" || status=$?

# Nothing may outlive the tests. Only CI has the user to itself; the kernel takes a moment to end a sandbox.
if [ "${CI:-}" = true ] && [ "$(id -u)" = 0 ]; then
	for _ in $(seq 50); do
		pgrep -u trenza-test >/dev/null || exit "$status"
		sleep 0.1
	done
	echo "processes that outlived the tests:" >&2
	pgrep -a -u trenza-test >&2
	status=1
fi
exit "$status"
