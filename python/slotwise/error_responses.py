"""The HTTP response to a client whose request was refused or has failed.

>>> from slotwise.error_responses import error_response, failure_response
>>> failure_response(404, "not_found", "there is no such path", path="/v1/messages").body
b'{"type": "error", "error": {"type": "not_found_error", "message": "there is no such path"}}'

Client libraries parse the body, so it has the shape of the API at the request's path: Anthropic's
for messages, and OpenAI's for all others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from . import _core, wire
from .disconnect import ClientDisconnectedError
from .errors import RejectedError, WireError
from .gates import RefusedError
from .reports import Refusal, RefusalShape

__all__ = ["error_response", "failure_response", "shape_of"]


def shape_of(path: str) -> RefusalShape:
    """The shape of errors that the clients of the API at this path parse."""
    return "anthropic" if _core.api_of_path(path) == "messages" else "openai"


def error_response(
    error: BaseException | _core.Rejected | _core.Evicted, *, path: str = ""
) -> Refusal:
    """The response to a request that ended with this error, or this refusal.

    | error | status | retry time |
    |---|---|---|
    | ``RejectedError``, ``EvictedError``, ``Rejected``, ``Evicted`` | its own | if known |
    | ``RefusedError`` of a gate or an ingress | its own | its headers |
    | ``WireError`` of a body | 400 | |
    | ``ClientDisconnectedError`` | 499, for logs | |
    | ``TimeoutError``, also ``IdleTimeoutError`` | 504 | |
    | any other | 500, without its text | |
    """
    match error:
        case _core.Rejected() | _core.Evicted() | RejectedError():
            return wire.refusal(error, shape=shape_of(path))
        case RefusedError():
            body = error.body(shape_of(path))
            return Refusal(status=error.http_status, headers=tuple(error.headers), body=body)
        case WireError():
            message = f"the body cannot be read: {error}"
            return failure_response(400, error.code, message, path=path)
        case ClientDisconnectedError():
            return failure_response(499, error.code, str(error), path=path)
        case TimeoutError():
            message = "the engine did not answer in time"
            return failure_response(504, "timeout", message, path=path)
        case _:
            return failure_response(500, "internal_error", "the gateway has failed", path=path)


def failure_response(
    status: int,
    code: str,
    message: str,
    *,
    path: str = "",
    headers: Iterable[tuple[str, str]] = (),
) -> Refusal:
    """A response with this status, code and message. ``headers`` are added."""
    if not 400 <= status <= 599:
        raise ValueError(f"status must be that of an error, 400 to 599, not {status}")
    body: dict[str, Any]
    if shape_of(path) == "anthropic":
        other = "invalid_request_error" if status < 500 else "api_error"
        kind = _ANTHROPIC.get(status, other)
        body = {"type": "error", "error": {"type": kind, "message": message}}
    else:
        other = "invalid_request_error" if status < 500 else "server_error"
        kind = _OPENAI.get(status, other)
        body = {"error": {"message": message, "type": kind, "param": None, "code": code}}
    return Refusal(
        status=status,
        headers=(("content-type", "application/json"), *headers),
        body=json.dumps(body).encode(),
    )


_ANTHROPIC = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OPENAI = {429: "rate_limit_error"}
