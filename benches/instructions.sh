#!/usr/bin/env bash
# Counts the instructions of fixed amounts of the benchmarks' work with callgrind. The counts of two
# versions are comparable to a fraction of a percent, also on a busy machine. Needs valgrind.
#
#   benches/instructions.sh             prints: workload, instructions, instructions per operation
#   benches/instructions.sh BEFORE.tsv  also prints the change against an earlier output
#
# WORKLOADS="a b" counts these alone. PROFILE=dev builds without optimization, to test the script:
# its counts are not a measure.
set -euo pipefail
cd "$(dirname "$0")/.."
before=${1:-/dev/null}
profile=${PROFILE:-release}
folder=${CARGO_TARGET_DIR:-target}/$(sed 's/^dev$/debug/; s/^bench$/release/' <<<"$profile")

cargo build --quiet -p slotwise-benches --bin instructions --profile "$profile"
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
for workload in ${WORKLOADS:-$("$folder/instructions")}; do
    operations=$(valgrind --quiet --tool=callgrind --callgrind-out-file="$counts" \
        --toggle-collect='instructions::measured*' "$folder/instructions" "$workload")
    awk -v workload="$workload" -v operations="$operations" -v OFS='\t' '
        FILENAME == ARGV[1] { earlier[$1] = $2; next }
        $1 == "totals:" {
            $0 = workload OFS $2 OFS sprintf("%.0f", $2 / operations)
            if (workload in earlier) $0 = $0 OFS sprintf("%+.2f%%", 100 * ($2 / earlier[workload] - 1))
            print
        }' "$before" "$counts"
done
