#!/usr/bin/env bash
# Compares the times of two builds of `instructions`, A and B in turns.
#
#   benches/paired.sh A B [WORKLOAD ...]   prints: workload, nanoseconds of A, of B, ratio B to A
#
# Each number is the least of RUNS runs, 15 unless set: other processes only add to a time.
set -euo pipefail
a=$1 b=$2
shift 2
[ $# -gt 0 ] || mapfile -t list < <("$b")
for workload in "${@:-${list[@]}}"; do
    for _ in $(seq "${RUNS:-15}"); do
        echo "$("$a" "$workload" time) $("$b" "$workload" time)"
    done | awk -v workload="$workload" -v OFS='\t' '
        NR == 1 || $1 < a { a = $1 }
        NR == 1 || $2 < b { b = $2 }
        END { print workload, a, b, sprintf("%.2f", b / a) }'
done
