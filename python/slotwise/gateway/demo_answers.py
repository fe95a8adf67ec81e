"""Answers of the demonstration's engines in the formats of four APIs, as bodies and as streams.

The answer repeats the last text of the prompt. If a tool must be used, it calls the first tool with
that text as its argument.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

__all__ = ["answer_of", "events_of"]

Json = dict[str, Any]


def answer_of(path: str, body: Json, prompt_tokens: int, cached_tokens: int) -> Json:
    """The answer to a request without a stream."""
    words = _words(body)
    usage = (prompt_tokens, cached_tokens, len(words))
    tool = _tool(body)
    text = "".join(words)
    model = body.get("model", "")
    if path.endswith("/messages"):
        return _message(model, _content(tool, text), usage, "tool_use" if tool else "end_turn")
    if path.endswith("/responses"):
        return _response(model, _output(tool, text), "completed", usage)
    if path.endswith("/chat/completions"):
        message: Json = {"role": "assistant", "content": None if tool else text}
        if tool:
            message["tool_calls"] = [_call(tool, text)]
        choice: Json = {"index": 0, "message": message, "finish_reason": _finish(tool)}
        return {**_head("chat.completion", model), "choices": [choice], "usage": _usage(usage)}
    choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
    return {**_head("text_completion", model), "choices": [choice], "usage": _usage(usage)}


def events_of(path: str, body: Json, prompt_tokens: int, cached_tokens: int) -> Iterator[bytes]:
    """The events of a stream, one word each."""
    words = _words(body)
    usage = (prompt_tokens, cached_tokens, len(words))
    if path.endswith("/messages"):
        return _message_events(body, words, usage)
    if path.endswith("/responses"):
        return _response_events(body, words, usage)
    return _completion_events(path, body, words, usage)


def _completion_events(
    path: str, body: Json, words: list[str], usage: tuple[int, int, int]
) -> Iterator[bytes]:
    chat = path.endswith("/chat/completions")
    head = _head("chat.completion.chunk" if chat else "text_completion", body.get("model", ""))
    tool = _tool(body) if chat else None
    for word in [""] if tool else words:
        if tool:
            call = {"index": 0, **_call(tool, "".join(words))}
            part: Json = {"delta": {"role": "assistant", "tool_calls": [call]}}
        else:
            part = {"delta": {"role": "assistant", "content": word}} if chat else {"text": word}
        yield _data({**head, "choices": [{"index": 0, **part, "finish_reason": None}]})
    part = {"delta": {}} if chat else {"text": ""}
    yield _data({**head, "choices": [{"index": 0, **part, "finish_reason": _finish(tool)}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        yield _data({**head, "choices": [], "usage": _usage(usage)})
    yield b"data: [DONE]\n\n"


def _message_events(
    body: Json, words: list[str], usage: tuple[int, int, int]
) -> Iterator[bytes]:
    tool = _tool(body)
    start = _message(body.get("model", ""), [], (usage[0], usage[1], 1), None)
    yield _event("message_start", {"message": start})
    if tool:
        block: Json = {**_content(tool, "")[0], "input": {}}
        arguments = json.dumps({"text": "".join(words)})
        deltas: list[Json] = [{"type": "input_json_delta", "partial_json": arguments}]
    else:
        block = {"type": "text", "text": ""}
        deltas = [{"type": "text_delta", "text": word} for word in words]
    yield _event("content_block_start", {"index": 0, "content_block": block})
    for delta in deltas:
        yield _event("content_block_delta", {"index": 0, "delta": delta})
    yield _event("content_block_stop", {"index": 0})
    ended = {"stop_reason": "tool_use" if tool else "end_turn", "stop_sequence": None}
    yield _event("message_delta", {"delta": ended, "usage": {"output_tokens": usage[2]}})
    yield _event("message_stop", {})


def _response_events(
    body: Json, words: list[str], usage: tuple[int, int, int]
) -> Iterator[bytes]:
    model, tool, text = body.get("model", ""), _tool(body), "".join(words)
    events: list[tuple[str, Json]] = [
        ("response.created", {"response": _response(model, [], "in_progress", None)})
    ]
    done = _output(tool, text)[0]
    place: Json = {"item_id": done["id"], "output_index": 0}
    if tool:
        began: Json = {**done, "arguments": "", "status": "in_progress"}
        arguments = done["arguments"]
        pieces: list[tuple[str, Json]] = [
            ("response.function_call_arguments.delta", {**place, "delta": arguments}),
            ("response.function_call_arguments.done", {**place, "arguments": arguments}),
        ]
    else:
        began = {**done, "content": [], "status": "in_progress"}
        place["content_index"] = 0
        part = done["content"][0]
        pieces = [("response.content_part.added", {**place, "part": {**part, "text": ""}})]
        deltas = [{**place, "delta": word, "logprobs": []} for word in words]
        pieces += [("response.output_text.delta", delta) for delta in deltas]
        pieces += [("response.output_text.done", {**place, "text": text, "logprobs": []})]
        pieces += [("response.content_part.done", {**place, "part": part})]
    events += [("response.output_item.added", {"output_index": 0, "item": began}), *pieces]
    events += [("response.output_item.done", {"output_index": 0, "item": done})]
    whole = _response(model, [done], "completed", usage)
    events += [("response.completed", {"response": whole})]
    for number, (name, data) in enumerate(events):
        yield _event(name, {**data, "sequence_number": number})


def _words(body: Json) -> list[str]:
    """The words of the answer."""
    said = body.get("messages") or body.get("input") or body.get("prompt") or "Hello"
    if isinstance(said, list):
        said = said[-1]
    if isinstance(said, dict):
        said = said.get("content", "")
    if isinstance(said, list):
        said = " ".join(part.get("text", "an image") for part in said)
    most = body.get("max_tokens") or body.get("max_completion_tokens") or 64
    words = f"You said: {said}".split()[:most]
    return [word if number == 0 else f" {word}" for number, word in enumerate(words)]


def _tool(body: Json) -> str | None:
    """The name of the tool that must be called."""
    choice = body.get("tool_choice")
    forced = choice == "required" or (isinstance(choice, dict) and choice.get("type") != "auto")
    if not (forced and body.get("tools")):
        return None
    tool = body["tools"][0]
    name: str = tool.get("function", tool)["name"]
    return name


def _finish(tool: str | None) -> str:
    return "tool_calls" if tool else "stop"


def _call(tool: str, text: str) -> Json:
    function = {"name": tool, "arguments": json.dumps({"text": text})}
    return {"id": "call_1", "type": "function", "function": function}


def _content(tool: str | None, text: str) -> list[Json]:
    if tool:
        return [{"type": "tool_use", "id": "toolu_1", "name": tool, "input": {"text": text}}]
    return [{"type": "text", "text": text}]


def _output(tool: str | None, text: str) -> list[Json]:
    if tool:
        call: Json = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": tool}
        return [{**call, "arguments": json.dumps({"text": text}), "status": "completed"}]
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    message: Json = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
    return [{**message, "status": "completed"}]


def _head(kind: str, model: str) -> Json:
    return {"id": "demo-1", "object": kind, "created": 0, "model": model}


def _message(
    model: str, content: list[Json], usage: tuple[int, int, int], stop: str | None
) -> Json:
    prompt, cached, output = usage
    counts = {
        "input_tokens": prompt - cached,
        "cache_read_input_tokens": cached,
        "output_tokens": output,
    }
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model}
    return {**message, "content": content, "stop_reason": stop, "stop_sequence": None,
            "usage": counts}


def _response(
    model: str, output: list[Json], status: str, usage: tuple[int, int, int] | None
) -> Json:
    counts = None
    if usage is not None:
        prompt, cached, completion = usage
        counts = {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": completion,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + completion,
        }
    return {
        "id": "resp_1", "object": "response", "created_at": 0, "status": status, "model": model,
        "output": output, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        "usage": counts, "error": None, "incomplete_details": None, "instructions": None,
        "metadata": {}, "temperature": 1.0, "top_p": 1.0,
    }


def _usage(usage: tuple[int, int, int]) -> Json:
    prompt, cached, completion = usage
    return {
        "prompt_tokens": prompt,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def _data(data: Json) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def _event(name: str, data: Json) -> bytes:
    return f"event: {name}\n".encode() + _data({"type": name, **data})
