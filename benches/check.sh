#!/usr/bin/env bash
# Compares the instructions of fourteen operations with benches/instructions.tsv, and fails if one
# of them rose by over 3 %. Instructions are counted and nothing is timed, so a busy machine changes
# nothing.
#
#   benches/check.sh           compares
#   benches/check.sh --write   counts anew and writes the file, after a change on purpose
#
# Another compiler inlines other functions, and another processor takes other paths in the C
# library. So counts are compared only under the toolchain and the target of the file. Without
# valgrind, or under another toolchain, the check is skipped with a line that names the reason.
set -euo pipefail
cd "$(dirname "$0")/.."
file=benches/instructions.tsv
# One unit of code generation: with several, unrelated changes move functions between them.
export PROFILE=bench

skip() { echo "bench-check: skipped: $1"; exit 0; }

command -v valgrind >/dev/null || skip "valgrind is not installed"
toolchain=$(rustc -vV | awk '/^(release|commit-hash|host):/ { printf "%s ", $2 }')
toolchain="$toolchain$(valgrind --version)"
header="# $toolchain"

if [ "${1:-}" = --write ]; then
    WORKLOADS=$(sed '/^#/d' "$file" | cut -f1) benches/instructions.sh >"$file.new"
    { echo "$header"; cat "$file.new"; } >"$file"
    rm "$file.new"
    exit
fi

recorded=$(sed -n '1s/^# //p' "$file")
[ "$recorded" = "$toolchain" ] || skip "the counts are of [$recorded], this is [$toolchain]"
counted=$(WORKLOADS=$(sed '/^#/d' "$file" | cut -f1) benches/instructions.sh "$file")
echo "$counted"
awk -F '\t' -v file="$file" '
    $4 + 0 > 3 { print "bench-check: " $1 " takes " $4 " instructions, over 3 %"; failed = 1 }
    $4 + 0 < -3 { print "bench-check: " $1 " takes " $4 " instructions: run benches/check.sh --write" }
    END { exit failed }' <<<"$counted" || {
    echo "bench-check: reduce the instructions, or give the reason in the commit and run benches/check.sh --write"
    exit 1
}
