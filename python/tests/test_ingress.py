"""The ingress: its typed face, and the examples of its page."""

import doctest
import hashlib
import json
import re
from pathlib import Path

import pytest
from slotwise import ingress
from slotwise.configuration import Configuration
from slotwise.gates import Caller, RefusedError
from slotwise.ingress import Admitted, Ingress
from slotwise.routing import Target

PAGE = Path(__file__).parents[2] / "docs" / "src" / "ingress.md"
FILE = """
pools:
- {name: llama, models: [llama-3], fallback: spare}
- {name: spare, models: [llama-1]}
rules:
- {name: all, backends: [{pool: llama}], mirrors: [{pool: llama}], timeout: 30}
rewrites:
- {name: names, pool: llama, rules: [{models: [chat], targets: [{model: llama-3}]}]}
- {name: less, pool: spare, rules: [{targets: [{model: llama-1}]}]}
objectives:
- {name: batch, priority: -5}
- {name: urgent, priority: 9}
gates:
  keys:
  - {name: alice, tenant: team, priority: 5, weight: 2, models: [chat], sha256: SHA,
     limits: {requests_per_minute: 2}}
"""
FILE = FILE.replace("SHA", hashlib.sha256(b"sk-1").hexdigest())
KEY = ("authorization", "Bearer sk-1")
ALICE = Caller("alice", False, "team", 5, 2.0)


def test_the_pages_examples_run() -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.S)
    assert examples
    for example in examples:
        exec(compile(example, PAGE, "exec"), {})
    assert doctest.testmod(ingress).failed == 0


def test_an_admitted_request_is_typed() -> None:
    front = Ingress(Configuration(FILE), allow={"session": True, "objective": True, "flow": False})
    assert front.identify([KEY]) == ALICE
    headers = [KEY, ("x-session-id", "s1"), ("x-gateway-inference-objective", "batch")]
    admitted = front.admit(model="chat", path="/v1/completions", headers=headers, now=0.0)
    assert admitted == Admitted(
        caller=ALICE,
        rule="all",
        targets=[Target("llama", "llama-3", "llama-3", None), Target("spare", *["llama-1"] * 2, None)],
        mirrors=[Target("llama", "llama-3", "llama-3", None)],
        options={"flow": "team", "priority": -5, "weight": 2.0},
        session="s1",
        timeout=30.0,
        headers=[
            ("x-ratelimit-limit-requests", "2"),
            ("x-ratelimit-remaining-requests", "1"),
            ("x-ratelimit-reset-requests", "1m1s"),
        ],
        answers_as="chat",
        _number=0,
    )
    assert front.cancel(admitted, now=0.0) and not front.settle(admitted, now=0.0)
    assert front.models(ALICE) == ["chat"]


def test_refusals_have_what_the_client_gets() -> None:
    front = Ingress(Configuration(FILE))
    for model, headers, status, code in [
        ("chat", [], 401, "missing_api_key"),
        ("chat", [("x-api-key", "sk-2")], 401, "invalid_api_key"),
        ("llama-3", [KEY], 403, "model_not_allowed"),
        ("gpt", [KEY], 404, "model_not_found"),
    ]:
        with pytest.raises(RefusedError) as raised:
            front.admit(model=model, headers=headers, now=0.0)
        refused = raised.value
        assert (refused.http_status, refused.code, refused.retry_after) == (status, code, None)
        assert json.loads(refused.body())["error"]["code"] == code
        assert ("content-type", "application/json") in refused.headers
    for _ in range(2):
        front.admit(model="chat", headers=[KEY], objective="urgent", now=1.0)
    with pytest.raises(RefusedError) as raised:
        front.admit(model="chat", headers=[KEY], now=31.0)
    assert (raised.value.http_status, raised.value.retry_after) == (429, 31.0)
    assert ("retry-after", "31") in raised.value.headers


def test_a_reload_keeps_what_is_booked() -> None:
    front = Ingress(Configuration(FILE))
    first = front.admit(model="chat", headers=[KEY], objective="urgent", now=0.0)
    assert first.options["priority"] == 5, "at most the key's"
    front.set_config(Configuration(FILE.replace("requests_per_minute: 2", "concurrent_requests: 1")))
    with pytest.raises(RefusedError) as raised:
        front.admit(model="chat", headers=[KEY], now=0.0)
    assert raised.value.code == "concurrency_limit_exceeded"
    with pytest.raises(ValueError, match="must be unique"):
        front.set_config({"routing": {"pools": [{"name": "a"}, {"name": "a"}]}})
    assert front.settle(first, prompt_tokens=1, completion_tokens=1, now=1.0)
    assert front.admit(model="chat", headers=[KEY], now=1.0).rule == "all"
    with pytest.raises(ValueError, match="must be one of"):
        Ingress({"routing": {}}, allow=["weight"])  # type: ignore[list-item]
