"""One request, from its headers to the end of its answer.

.. code-block:: text

    identify ─► read the body ─► admit ─► check the prompt ─► ask a pool ─► send ─► settle
       401          413          403 404        400          next target      cancel
                                 413 429                     if it is full

``Scheduler.forward`` retries on other endpoints before the first byte. aiohttp cancels the handler
when the client disconnects, which ends the request at the engine.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .. import _core, wire
from ..aio import Call, Reply
from ..error_responses import shape_of
from ..errors import WireError
from ..gates import Caller, RefusedError
from ..routing import Target
from ..telemetry import ObservedRequest, operation_of
from .failures import failure, of_error
from .mirrors import Copy
from .pools import Pool
from .safety import Safety
from .upstream import Response

if TYPE_CHECKING:
    from ..ingress import Admitted
    from .gateway import Gateway

__all__ = ["serve"]

_log = logging.getLogger("slotwise.gateway")


async def serve(gateway: Gateway, request: web.BaseRequest) -> web.StreamResponse:
    """Serves one request to an API of model servers."""
    try:
        return await Serving(gateway, request).run()
    except (RefusedError, WireError) as error:
        return of_error(error, request.path)
    except web.HTTPRequestEntityTooLarge:
        message = f"the body has more than {gateway.settings.max_body} bytes"
        return failure(413, "body_too_large", message, request.path)


class Serving:
    """The steps of one request."""

    def __init__(self, gateway: Gateway, request: web.BaseRequest) -> None:
        self.gateway: Gateway = gateway
        self.request: web.BaseRequest = request
        self.body: bytes = b""
        self.model: str = ""
        self.headers: list[tuple[str, str]] = list(request.headers.items())
        self.response: web.StreamResponse | None = None
        self.targets: list[tuple[Target, Pool]] = []
        self.mirrors: list[tuple[Target, Pool]] = []
        self.observed: ObservedRequest
        self.add_usage: bool = False
        self.expiry: asyncio.TimerHandle | None = None

    async def run(self) -> web.StreamResponse:
        """Serves the request. Raises what refuses it before it is admitted."""
        ingress, request = self.gateway.ingress, self.request
        if self.gateway.has_gates:
            ingress.identify(self.headers, client=request.remote)
        self.body = await _read(request)
        # Four fields of a view are needed, which takes a fifth of the time of a whole one.
        fields, prompt = _core.read_request(self.body, None, request.path)
        view: dict[str, Any] = json.loads(fields)
        self.model = view["model"] or ""
        prompt_tokens, output_tokens = self._demand(view, prompt)
        # Quotas need the usage of streams, which these two APIs report on request only.
        self.add_usage = self.gateway.has_gates and view["stream"] and view["api"] in _ON_REQUEST
        admitted = ingress.admit(
            model=self.model,
            path=request.path,
            headers=self.headers,
            client=request.remote,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
        )
        # A reload may remove a pool while the request is served.
        pools = self.gateway.pools
        self.targets = [(target, pools[target.pool]) for target in admitted.targets]
        self.mirrors = [(target, pools[target.pool]) for target in admitted.mirrors]
        reply: Reply | None = None
        limit = asyncio.timeout(admitted.timeout)
        try:
            with self._observe(admitted) as self.observed:
                async with limit:
                    safety = self._safety(admitted.caller)
                    if safety is not None:
                        self.body = await safety.prompt(self.body)
                    reply = await self._ask(admitted)
                    self._limit(reply, limit)
                    return await self._send(reply, admitted, safety)
        except RefusedError as refused:
            return self._with_limits(of_error(refused, request.path), admitted)
        except TimeoutError:
            if not limit.expired():
                raise
            return self._timed_out(admitted)
        finally:
            if self.expiry is not None:
                self.expiry.cancel()
            self._settle(admitted, reply)
            if reply is not None:
                await reply.aclose()

    def _demand(self, view: dict[str, Any], prompt: bytes | list[int]) -> tuple[int, int]:
        """The tokens of the prompt and of the answer that a quota books."""
        tokens = len(prompt) if isinstance(prompt, list) else -(-len(prompt) // _BYTES_A_TOKEN)
        limit = view["max_tokens"]
        output = self.gateway.settings.expected_output if limit is None else limit
        return tokens * max(1, view["prompts"]), output * max(1, view["n"] or 1)

    def _observe(self, admitted: Admitted) -> ObservedRequest:
        """The span and the metrics of the request, if OpenTelemetry is installed."""
        return self.gateway.telemetry.request(
            operation_of(self.request.path),
            self.model,
            headers=self.headers,
            session=admitted.session,
            flow=admitted.options.get("flow", ""),
            priority=admitted.options.get("priority", 0),
        )

    def _safety(self, caller: Caller) -> Safety | None:
        function = self.gateway.settings.safety
        if function is None:
            return None
        config = self.gateway.safety_config
        return Safety(function, config, shape=shape_of(self.request.path), caller=caller.name)

    async def _ask(self, admitted: Admitted) -> Reply:
        """Asks the pool, and then its fallbacks while they have no room."""
        *fuller, last = self.targets
        for target, pool in fuller:
            reply = await self._ask_pool(target, pool, admitted)
            if reply.lease is not None or reply.status not in _NO_ROOM:
                break
            await reply.aclose()
        else:
            reply = await self._ask_pool(*last, admitted)
        for target, pool in self.mirrors:
            copy = Copy(
                pool=pool,
                target=target,
                body=self._body_for(target),
                path=self.request.path,
                url=self.request.path_qs,
                headers=self._sent(),
                session=admitted.session,
            )
            self.gateway.mirrors.send(copy)
        return reply

    async def _ask_pool(self, target: Target, pool: Pool, admitted: Admitted) -> Reply:
        gateway, target_of_request = self.gateway, self.request.path_qs
        body, headers, post = self._body_for(target), self._sent(), gateway.upstream.post

        async def send(engine: str) -> Response:
            return await post(engine, target_of_request, body, headers)

        async def send_call(call: Call) -> Response:
            return await post(call.url, target_of_request, call.body, headers + call.headers)

        asked: dict[str, Any] = {
            "body": body,
            "path": self.request.path,
            "headers": self.headers,
            "allow": gateway.settings.allow,
            **admitted.options,
        }
        if target.adapter is not None:
            asked["model"], asked["adapter"] = target.base, target.adapter
        scheduler = pool.scheduler
        explanation = gateway.history.explain(scheduler, asked)
        if admitted.answers_as is not None:
            asked["answers_as"] = admitted.answers_as
        if (connector := gateway.settings.connector) is not None:
            asked["connector"] = connector
        if self.add_usage:
            asked["add_usage"] = True
        reply = await scheduler.forward(
            send if connector is None and not self.add_usage else send_call,
            attempts=gateway.settings.attempts,
            idle_timeout=gateway.settings.idle_timeout,
            **asked,
        )
        gateway.history.record(
            pool=target.pool,
            model=self.model,
            caller=admitted.caller.name,
            status=reply.status,
            lease=reply.lease,
            explanation=explanation,
        )
        return reply

    def _body_for(self, target: Target) -> bytes:
        """The body with the model that the target serves."""
        if target.model == self.model:
            return self.body
        return wire.rewrite_model(self.body, target.model)

    def _sent(self) -> list[tuple[str, str]]:
        """The headers for engines: none of the connection, and no key of the client."""
        add = [] if _has_form(self.request) else [("content-type", "application/json")]
        if (key := self.gateway.settings.engine_key) is not None:
            add.append(("authorization", f"Bearer {key}"))
        add += self.observed.headers.items()
        return wire.forwarded_headers(self.headers, add=add)

    async def _send(
        self, reply: Reply, admitted: Admitted, safety: Safety | None
    ) -> web.StreamResponse:
        """Sends the reply to the client as it arrives."""
        response = web.StreamResponse(
            status=reply.status, headers=[*reply.headers, *admitted.headers]
        )
        chunks: AsyncIterator[bytes] = self.observed.stream(reply)
        if safety is not None and reply.lease is not None and reply.status < 400:
            stream = "event-stream" in response.headers.get("content-type", "")
            chunks = safety.answer("stream" if stream else "answer", chunks)
        await response.prepare(self.request)
        self.response = response
        write = response.write
        try:
            async for chunk in chunks:
                await write(chunk)
        except Exception as error:
            self._break(error)
        else:
            await response.write_eof()
            if reply.status < 400:
                _report(reply)
        return response

    def _limit(self, reply: Reply, limit: asyncio.Timeout) -> None:
        """Lets the reply end by itself when its time is over, so that the client learns why."""
        when = limit.when()
        if when is not None:
            self.expiry = asyncio.get_running_loop().call_at(when, reply.expire)
            limit.reschedule(when + _LAST_WORDS)

    def _break(self, error: Exception) -> None:
        """Ends the client's connection within the answer, so that it is not taken for whole."""
        transport = self.request.transport
        if transport is None or transport.is_closing():
            return  # The client has gone.
        _log.warning("an answer broke off: %r", error)
        transport.close()

    def _timed_out(self, admitted: Admitted) -> web.StreamResponse:
        if self.response is not None:
            self._break(TimeoutError(f"the request took more than {admitted.timeout} s"))
            return self.response
        message = f"the request took more than {admitted.timeout} s"
        return failure(504, "request_timeout", message, self.request.path, admitted.headers)

    @staticmethod
    def _with_limits(response: web.Response, admitted: Admitted) -> web.Response:
        response.headers.extend(admitted.headers)
        return response

    def _settle(self, admitted: Admitted, reply: Reply | None) -> None:
        """Replaces the estimate of the quotas with what was used."""
        ingress = self.gateway.ingress
        lease = None if reply is None else reply.lease
        if lease is None or reply is None or reply.status >= 400:
            ingress.cancel(admitted)
            return
        answer = lease.answer
        usage = answer.usage
        completion = usage.completion_tokens
        ingress.settle(
            admitted,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=answer.tokens if completion is None else completion,
        )


def _report(reply: Reply) -> None:
    """Logs an answer that ended with an error."""
    outcome = None if reply.lease is None else reply.lease.outcome
    if outcome is not None and outcome.end not in ("complete", "refused"):
        _log.warning("an answer broke off: %s", outcome.end)


async def _read(request: web.BaseRequest) -> bytes:
    """The body of a request."""
    if request.headers.get("expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    return await request.read()


def _has_form(request: web.BaseRequest) -> bool:
    """Whether the body is a form. Other bodies are JSON, whatever ``curl -d`` declares."""
    return request.content_type == "multipart/form-data"


_NO_ROOM = (429, 503)
"""The statuses of a scheduler that has no room or no endpoint."""
_ON_REQUEST = ("chat_completions", "completions")
"""The APIs whose streams report their usage only if the body requests it."""
_LAST_WORDS = 5.0
"""Seconds that a client has to read the end of a reply whose time is over."""
_BYTES_A_TOKEN = 4
"""Bytes of text that a quota books as one token, until the engine reports the usage."""
