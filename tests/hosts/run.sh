#!/usr/bin/env bash
# The adapters in their real hosts, and several gateways with real servers between them:
# run.sh [litellm|litellm-old|ray|production-stack|admin-page|gateways]...
#
# Installs pinned versions in target/hosts, 1.4 GB. A host that cannot be installed is skipped, with
# a line that names it. $PRODUCTION_STACK is a checkout of the vLLM production stack, which PyPI
# lacks; its test needs Python 3.12 there.
set -euo pipefail
cd "$(dirname "$0")/../.."
hosts=target/hosts
python=${PYTHON:-python3}
mkdir -p "$hosts"
export SSL_CERT_FILE=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt} UV_LINK_MODE=copy
# Bytecode that is not kept would be compiled anew by each process of a host.
unset PYTHONDONTWRITEBYTECODE
TESTS=('pytest~=9.2' 'hypothesis~=6.170')

skip() {
    echo "$1 is not installed: $2; its test is skipped" >&2
}

[ -x "$hosts/uv/bin/uv" ] || {
    "$python" -m venv "$hosts/uv"
    "$hosts/uv/bin/pip" install --quiet --disable-pip-version-check uv==0.13.8 || {
        skip "each host" "there is no package index"
        exit 0
    }
}
rm -rf "$hosts/wheel"
"$python" -m pip wheel --quiet --disable-pip-version-check --no-deps -w "$hosts/wheel" ./python

# Installs a host, and runs its test: host NAME TEST PYTHON REQUIREMENT...
host() {
    name=$1 test=$2 interpreter=$3
    shift 3
    rm -rf "$hosts/$name"
    "$interpreter" -m venv --without-pip "$hosts/$name"
    "$hosts/uv/bin/uv" pip install --quiet --python "$hosts/$name/bin/python" "$@" \
        "${TESTS[@]}" "$hosts"/wheel/*.whl || {
        skip "$name" "its packages cannot be had"
        return 0
    }
    (cd python && "../$hosts/$name/bin/python" -P -m pytest -o addopts=-q -W ignore "tests/slow/$test")
}

for one in "${@:-litellm litellm-old ray production-stack admin-page gateways}"; do
    for name in $one; do
        case $name in
        litellm) host litellm test_litellm.py "$python" litellm==1.110.2 ;;
        litellm-old) host litellm-old test_litellm.py "$python" litellm==1.106.2 ;;
        # A node gives up on its own processes if they compile what they import first.
        ray) host ray test_ray_serve.py "$python" --compile-bytecode 'ray[serve]==2.60.0' ;;
        production-stack)
            if [ -z "${PRODUCTION_STACK:-}" ]; then
                skip "the vLLM production stack" "PRODUCTION_STACK names no checkout"
            elif ! "${PYTHON312:-python3.12}" --version >/dev/null 2>&1; then
                skip "the vLLM production stack" "there is no Python 3.12; PYTHON312 names one"
            else
                host production-stack test_production_stack.py "${PYTHON312:-python3.12}" \
                    "$PRODUCTION_STACK" requests httpx
            fi
            ;;
        # Chromium is a package of the system; without it, the test is skipped.
        admin-page) host admin-page test_admin_page.py "$python" 'aiohttp~=3.14' 'playwright~=1.65' ;;
        # Two gateways are Node's, from `crates/node/npm` as it was built.
        gateways)
            host gateways test_gateways.py "$python" 'aiohttp~=3.14' 'redis~=8.1' 'nats-py~=2.16'
            ;;
        *) echo "there is no host $name" >&2 && exit 2 ;;
        esac
    done
done
