"""Chooses the deployments of LiteLLM's router.

.. code-block:: python

    scheduler = slotwise.Scheduler()
    litellm.callbacks = [SlotwiseCallback(scheduler)]
    router = litellm.Router(model_list=[...])
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .. import wire
from .._core import Rejected, Scheduler
from ..lease import Lease
from ..values import Usage
from .booking import Bookings, endpoint_id

if TYPE_CHECKING:
    # LiteLLM's types are incomplete.
    exceptions: Any
    CustomLogger = object
else:
    from litellm import exceptions
    from litellm.integrations.custom_logger import CustomLogger


class SlotwiseCallback(CustomLogger):
    """A callback that narrows the deployments to those of one endpoint.

    An endpoint is an ``api_base``, added when it is first seen. Deployments of one ``api_base``
    share their load. The filter reserves, so concurrent requests see each other. The hook before
    the call binds the reservation to ``litellm_call_id``, which differs for each attempt.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        *,
        idle_limit: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.bookings: Bookings = Bookings(scheduler, idle_limit=idle_limit, clock=clock)

    def options(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Keywords of ``pick`` for a request, from LiteLLM's keywords. Override it for others."""
        metadata = request.get("metadata") or {}
        session = request.get("litellm_session_id") or metadata.get("session_id")
        return {"session": str(session)} if session else {}

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[Any],
        messages: list[Any] | None,
        request_kwargs: dict[str, Any] | None = None,
        parent_otel_span: Any = None,
    ) -> list[Any]:
        """Returns the deployments of the chosen endpoint; all of them after a rejection."""
        request = request_kwargs or {}
        deployments: dict[int, list[Any]] = {}
        for deployment in healthy_deployments:
            name = deployment["litellm_params"].get("api_base") or deployment["model_info"]["id"]
            endpoint = endpoint_id(self.bookings.scheduler, name)
            deployments.setdefault(endpoint, []).append(deployment)
        options = {
            **_prompt(model, {"messages": messages, **request}),
            **self.options(request),
            "subset": list(deployments),
        }
        tried = _tried(request)
        failed = [key for key, all_of in deployments.items() if _ids(all_of) <= tried]
        lease = self.bookings.choose(exclude=failed, **options)
        if isinstance(lease, Rejected) and failed:
            lease = self.bookings.choose(**options)
        if isinstance(lease, Rejected):
            return healthy_deployments
        return deployments[lease.endpoint_id]

    async def async_pre_call_deployment_hook(self, kwargs: dict[str, Any], call_type: Any) -> None:
        """Binds the reservation to the attempt; books if another endpoint was chosen meanwhile."""
        call_id = kwargs.get("litellm_call_id")
        name = kwargs.get("api_base") or (kwargs.get("model_info") or {}).get("id")
        if not call_id or not name:
            return
        chosen = endpoint_id(self.bookings.scheduler, name)
        lease = self.bookings.bind(call_id)
        if lease is None or lease.endpoint_id != chosen:
            options = _prompt(str(kwargs.get("model")), kwargs) | self.options(kwargs)
            self.bookings.book(call_id, **options, subset=[chosen])
        _watch_first_token(self.bookings, call_id, kwargs.get("litellm_logging_obj"))

    async def async_post_call_streaming_deployment_hook(
        self, request_data: dict[str, Any], response_chunk: object, call_type: Any
    ) -> None:
        """Reports the first token, in versions that call this hook for each chunk."""
        if (lease := self.bookings.find(request_data.get("litellm_call_id"))) is not None:
            lease.first_token()

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Completes the request."""
        if (lease := self.bookings.take(kwargs.get("litellm_call_id"))) is not None:
            lease.complete(_usage(getattr(response_obj, "usage", None)))

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Ends the request by its exception."""
        self._fail(kwargs, kwargs.get("exception"))

    async def async_post_call_failure_deployment_hook(
        self,
        request_data: Mapping[str, Any],
        exception: Exception,
        call_type: Any,
        fallback_depth: int | None = None,
    ) -> None:
        """Ends an attempt by its exception, before the next attempt chooses."""
        self._fail(request_data, exception)

    def _fail(self, request: Mapping[str, Any], error: Any) -> None:
        lease = self.bookings.take(request.get("litellm_call_id"))
        if lease is not None:
            _end_by(lease, error)


def _prompt(model: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """The request as a body, from LiteLLM's keywords."""
    fields = ("messages", "tools", "prompt", "input", "instructions", "max_tokens", "stream")
    body = {name: request[name] for name in fields if request.get(name) is not None}
    path = "/v1/chat/completions"
    if "messages" not in body:
        path = "/v1/completions" if "prompt" in body else "/v1/responses"
    if not body.keys() & {"messages", "prompt", "input"}:
        return {"model": model}
    return {"body": json.dumps({"model": model, **body}, default=str).encode(), "path": path}


def _ids(deployments: list[Any]) -> set[str]:
    return {deployment["model_info"]["id"] for deployment in deployments}


def _tried(request: Mapping[str, Any]) -> set[str]:
    """The deployments that earlier attempts of the request have tried."""
    metadata = request.get("litellm_metadata") or request.get("metadata") or {}
    return {attempt.get("deployment_id") for attempt in metadata.get("previous_models") or ()}


def _watch_first_token(bookings: Bookings, call_id: str, logging: Any) -> None:
    """Reports the first token when LiteLLM records its time.

    No hook of a callback runs at the first chunk of a stream.
    """
    record = getattr(logging, "update_completion_start_time", None)
    if record is None:
        return

    def record_and_report(*args: Any, **kwargs: Any) -> Any:
        if (lease := bookings.find(call_id)) is not None:
            lease.first_token()
        return record(*args, **kwargs)

    logging.update_completion_start_time = record_and_report


def _usage(usage: Any) -> Usage:
    details = getattr(usage, "prompt_tokens_details", None)
    return Usage(
        prompt_tokens=getattr(usage, "prompt_tokens", None),
        cached_tokens=getattr(details, "cached_tokens", None),
        completion_tokens=getattr(usage, "completion_tokens", None),
    )


def _end_by(lease: Lease, error: Any) -> None:
    """A client's error is no failure of the endpoint."""
    if isinstance(error, exceptions.Timeout):
        lease.fail("timeout")
    elif isinstance(error, exceptions.APIConnectionError):
        lease.fail("unreachable")
    else:
        failure = wire.outcome_of_status(int(getattr(error, "status_code", None) or 500)).failure
        lease.cancel() if failure is None else lease.fail(failure)
