"""What a client gets for each error, in the shape of its API."""

from __future__ import annotations

import json
from typing import Any

import pytest
import slotwise
from slotwise import aio
from slotwise.errors import IdleTimeoutError
from slotwise.error_responses import error_response, failure_response, shape_of
from slotwise.gates import Gates, RefusedError


def rejected() -> slotwise.Rejected:
    answer = slotwise.Scheduler().pick("x")
    assert isinstance(answer, slotwise.Rejected)
    return answer


def refused() -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        Gates({"keys": []}).identify({"authorization": "Bearer unknown"})
    return caught.value


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (rejected(), 503, "no_endpoints"),
        (slotwise.RejectedError(rejected()), 503, "no_endpoints"),
        (slotwise.WireError("at byte 3: expected a digit", "unexpected", 3), 400, "unexpected"),
        (aio.ClientDisconnectedError(), 499, "client_disconnected"),
        (IdleTimeoutError(30.0, begun=False), 504, "timeout"),
        (TimeoutError(), 504, "timeout"),
        (KeyError("secret"), 500, "internal_error"),
    ],
)
def test_each_error_has_a_status_and_a_body(error: Any, status: int, code: str) -> None:
    response = error_response(error, path="/v1/chat/completions")
    said = json.loads(response.body)["error"]
    assert (response.status, said["code"]) == (status, code)
    assert said.keys() == {"message", "type", "param", "code"} and "secret" not in said["message"]
    assert ("content-type", "application/json") in response.headers
    said = json.loads(error_response(error, path="/v1/messages").body)
    assert said["type"] == "error" and said["error"].keys() == {"type", "message"}


def test_a_gate_writes_its_own_response() -> None:
    response = error_response(refused(), path="/v1/messages")
    assert (response.status, shape_of("/v1/messages?beta=true")) == (401, "anthropic")
    assert json.loads(response.body)["error"]["type"] == "authentication_error"


def test_failures_of_a_host_have_the_same_shapes() -> None:
    headers = [("allow", "POST")]
    response = failure_response(405, "method_not_allowed", 'say "POST"', headers=headers)
    assert response.headers == (("content-type", "application/json"), ("allow", "POST"))
    assert json.loads(response.body)["error"] == {
        "message": 'say "POST"',
        "type": "invalid_request_error",
        "param": None,
        "code": "method_not_allowed",
    }
    with pytest.raises(ValueError, match="400 to 599"):
        failure_response(200, "fine", "fine")
