#!/usr/bin/env bash
# Detects tests that depend on the speed of the machine: busy.sh [RUNS] runs `make test` RUNS times
# in a row (default 5), each beside processes that take every core. Prints a table, and exits with 1
# if any run failed. The output of each run is in target/busy/RUN.log.
set -u
cd "$(dirname "$0")/.."
runs=${1:-5}
cores=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
[ "$cores" -ge 2 ] || cores=2
logs=target/busy
mkdir -p "$logs"

busy=()
stop() {
    [ "${#busy[@]}" -eq 0 ] || kill "${busy[@]}" 2>/dev/null
    busy=()
}
trap stop EXIT
trap 'exit 130' INT TERM

table=
status=0
for ((run = 1; run <= runs; run++)); do
    for ((core = 0; core < cores; core++)); do
        (while :; do :; done) &
        busy+=($!)
    done
    start=$SECONDS
    log=$logs/$run.log
    rm -f target/test/summary
    if "${MAKE:-make}" test >"$log" 2>&1; then result=passed; else result=FAILED status=1; fi
    stop
    wait 2>/dev/null
    printf '\nrun %d of %d, beside %d busy processes\n' "$run" "$runs" "$cores"
    cat target/test/summary 2>/dev/null || tail -n 20 "$log"
    table+=$(printf '%4d  %-6s  %6d s  %s' "$run" "$result" $((SECONDS - start)) "$log")$'\n'
done
printf '\n%4s  %-6s  %8s  %s\n%s' run result took log "$table"
exit "$status"
