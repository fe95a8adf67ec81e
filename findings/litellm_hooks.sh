#!/usr/bin/env bash
# Which hooks of a callback LiteLLM's router calls for each kind of request, in order.
#
# For authors of callbacks that account for requests in flight. A dropped stream calls no hook at
# its end, so an account needs a time limit. The hook that is documented for each chunk of a stream
# is not called. Each attempt of a retried request has its own `litellm_call_id`. The synchronous
# call filters nothing. Log events have a delay, so they are counted after a wait.
#
# Installs pinned public packages in a temporary folder. Needs bash, Python >= 3.11 with pip, and a
# network for the installation only. Fails if the behaviour changes. The end of this file has the
# output of 2026-11-29.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
here=$(cd "$(dirname "$0")" && pwd)
cat > "$folder/probe.py" <<'PY'
import asyncio, json, logging, threading, warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
import litellm
from litellm.integrations.custom_logger import CustomLogger

class Engine(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    failures = 0
    gate = threading.Event()
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        choice = {"index": 0, "finish_reason": "stop"}
        if Engine.failures:
            Engine.failures -= 1
            return self.whole(500, {"error": {"message": "an error"}})
        if not body.get("stream"):
            message = {"role": "assistant", "content": "a"}
            return self.whole(200, {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [{**choice, "message": message}], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            for number in range(3):
                delta = {**choice, "finish_reason": None if number < 2 else "stop", "delta": {"content": "a"}}
                event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [delta]}
                self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.flush()
                if number == 0:
                    Engine.gate.wait()
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            pass
        self.close_connection = True
    def whole(self, status, fields):
        body = json.dumps(fields).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

class Callback(CustomLogger):
    def __init__(self):
        super().__init__()
        self.called, self.ids = [], []
    async def async_filter_deployments(self, model, healthy_deployments, messages, request_kwargs=None, parent_otel_span=None):
        self.called.append("filter")
        return healthy_deployments
    async def async_pre_call_deployment_hook(self, kwargs, call_type):
        self.called.append("before")
        self.ids.append(kwargs["litellm_call_id"])
    async def async_post_call_streaming_deployment_hook(self, request_data, response_chunk, call_type):
        self.called.append("chunk")
    async def async_post_call_failure_deployment_hook(self, request_data, exception, call_type, fallback_depth=None):
        self.called.append("attempt failed")
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        self.called.append("success")
    async def async_log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self.called.append("failure")

async def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    callback = Callback()
    litellm.callbacks = [callback]
    router = litellm.Router(num_retries=1, retry_after=0, model_list=[{"model_name": "m", "litellm_params": {"model": "openai/m", "api_base": f"http://127.0.0.1:{server.server_port}/v1", "api_key": "k"}}])
    ask = dict(model="m", messages=[{"role": "user", "content": "x"}])
    async def whole(): await router.acompletion(**ask)
    async def stream():
        Engine.gate.set()
        async for _ in await router.acompletion(**ask, stream=True): pass
    async def dropped():
        Engine.gate.clear()
        answer = await router.acompletion(**ask, stream=True)
        await anext(aiter(answer))
        await answer.aclose()
        Engine.gate.set()
    async def retried():
        Engine.failures = 1
        await router.acompletion(**ask)
    async def synchronous(): await asyncio.to_thread(lambda: router.completion(**ask))
    for kind in (whole, stream, dropped, retried, synchronous):
        callback.called.clear(); callback.ids.clear()
        await kind()
        await asyncio.sleep(5)
        ids = "" if len(callback.ids) < 2 else f"; {len(set(callback.ids))} ids"
        print(kind.__name__ + ":", (", ".join(callback.called) or "none") + ids, flush=True)
asyncio.run(main())
PY
export LITELLM_LOCAL_MODEL_COST_MAP=True
unset PYTHONDONTWRITEBYTECODE
for version in 1.110.2 1.106.2; do
    python3 -m venv "$folder/$version"
    "$folder/$version/bin/pip" install -q --disable-pip-version-check "litellm==$version"
    echo "litellm $version"
    "$folder/$version/bin/python" -W ignore "$folder/probe.py" 2>/dev/null
done | tee "$folder/output"
diff <(sed -n 's/^#> //p' "$here/$(basename "$0")") "$folder/output" && echo "unchanged"
exit

#> litellm 1.110.2
#> whole: filter, before, success
#> stream: filter, before, success
#> dropped: filter, before
#> retried: filter, before, attempt failed, failure, filter, before, success; 2 ids
#> synchronous: none
#> litellm 1.106.2
#> whole: filter, before, success
#> stream: filter, before, success
#> dropped: filter, before
#> retried: filter, before, attempt failed, failure, filter, before, success; 2 ids
#> synchronous: none
