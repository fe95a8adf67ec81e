#!/usr/bin/env bash
# The scheduler in front of real servers. Where they cannot be installed, says so and ends well.
set -eu
cd "$(dirname "$0")/../.."
installed=$(tests/vllm/install.sh) || {
    status=$?
    [ "$status" -eq 77 ] && exit 0
    exit "$status"
}
"$installed/venv/bin/uv" pip install --quiet --python "$installed/venv/bin/python" ./python 'pytest~=9.2'
SLOTWISE_VLLM=$installed "$installed/venv/bin/python" -P -m pytest -q -p no:cacheprovider tests/vllm
