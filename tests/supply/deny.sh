#!/usr/bin/env bash
# Licenses, bans and sources of every Cargo.lock in the tree, by deny.toml. Arguments replace the
# names of the checks: `tests/supply/deny.sh advisories` fetches the list of known vulnerabilities.
set -euo pipefail
cd "$(dirname "$0")/../.."
checks=("$@")
[ ${#checks[@]} -gt 0 ] || checks=(licenses bans sources)
git ls-files '*Cargo.lock' | while read -r lock; do
    echo "$lock: ${checks[*]}"
    cargo deny --locked --manifest-path "${lock%.lock}.toml" --config deny.toml \
        check --allow license-exception-not-encountered "${checks[@]}" </dev/null
done
