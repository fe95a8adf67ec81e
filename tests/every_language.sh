#!/usr/bin/env bash
# All tests of all languages, also after some have failed: `make test`. Ends with a line for each,
# and exits with 1 if any failed. The output of each is in target/test/LANGUAGE.log.
set -u
cd "$(dirname "$0")/.."
logs=target/test
mkdir -p "$logs"
trap 'exit 130' INT TERM
summary=
status=0
for language in rust python node; do
    log=$logs/$language.log
    start=$SECONDS
    "${MAKE:-make}" --no-print-directory "test-$language" 2>&1 | tee "$log"
    if [ "${PIPESTATUS[0]}" -eq 0 ]; then
        result="passed in $((SECONDS - start)) s"
    else
        result="FAILED after $((SECONDS - start)) s (log: $log)"
        status=1
    fi
    summary+=$(printf '%-7s %s' "$language:" "$result")$'\n'
done
printf '\n%s' "$summary" | tee "$logs/summary"
exit "$status"
