#!/usr/bin/env bash
# All tests of all languages, also after some have failed: `make test`. Ends with a line for each,
# and exits with 1 if any failed. The output of each is in target/test/LANGUAGE.log.
#
# Rust's tests use every core. Those of Python and Node hardly use one each, so they run together:
# each of their lines begins with the language.
set -u
cd "$(dirname "$0")/.."
logs=target/test
mkdir -p "$logs"
rm -f "$logs"/*.result
# Processes in the background ignore an interrupt, so it becomes a termination.
trap 'trap "" TERM; kill 0; exit 130' INT TERM

# Tests one language, and leaves its line in a file. Prefix: what each line of output begins with.
one_language() {
    local language=$1 prefix=$2 start=$SECONDS result
    local log=$logs/$language.log
    "${MAKE:-make}" --no-print-directory "test-$language" 2>&1 | tee "$log" | sed -u "s/^/$prefix/"
    if [ "${PIPESTATUS[0]}" -eq 0 ]; then
        result="passed in $((SECONDS - start)) s"
    else
        result="FAILED after $((SECONDS - start)) s (log: $log)"
    fi
    printf '%-7s %s\n' "$language:" "$result" >"$logs/$language.result"
}

one_language rust ""
one_language python "python: " &
one_language node "node:   " &
wait

echo
cat "$logs"/{rust,python,node}.result | tee "$logs/summary"
! grep -q FAILED "$logs/summary" && [ "$(wc -l <"$logs/summary")" -eq 3 ]
