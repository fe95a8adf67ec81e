"""Errors for clients as responses, in the format of the API that they use."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from .. import wire
from ..error_responses import error_response, failure_response, shape_of
from ..reports import Refusal
from ..values import GatewayReason

__all__ = ["failure", "of_error", "of_reason"]


def of_error(error: Exception, path: str) -> web.Response:
    """The answer to a request that ended with this error."""
    return _response(error_response(error, path=path))


def of_reason(reason: GatewayReason, path: str) -> web.Response:
    """The answer to a request that the gateway itself refuses for a known reason."""
    return _response(wire.refusal(reason, shape=shape_of(path)))


def failure(
    status: int, code: str, message: str, path: str, headers: Iterable[tuple[str, str]] = ()
) -> web.Response:
    """The answer to a request that is wrong or has failed."""
    return _response(failure_response(status, code, message, path=path, headers=headers))


def _response(refusal: Refusal) -> web.Response:
    return web.Response(status=refusal.status, headers=refusal.headers, body=refusal.body)
