#!/usr/bin/env bash
# What clients' SDKs report when a stream ends before its last event, in four ways.
#
# For authors of gateways: an engine that fails within an answer leaves the gateway to choose how
# the client's stream ends. Most SDKs take a clean end for a whole answer, so the end has to be an
# error event or a broken connection. A local server sends one piece of text, then ends the stream:
#
#   whole    with the finish reason and the last event of the API
#   clean    after the text, by a valid end of the chunked body
#   error    with an error as an event of the API, then a valid end
#   broken   by closing the connection within the chunked body
#
# Installs pinned public packages in a temporary folder. Needs bash, Python >= 3.11 with pip, Node
# >= 20 with npm, and a network for the installation only. Fails if the behaviour changes. The end
# of this file has the output of 2026-11-30: `whole` for an iteration that ends without an error,
# `error` for one of the SDK's own errors, and `foreign error` for any other, which a handler of the
# SDK's errors misses.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
here=$(cd "$(dirname "$0")" && pwd)
python3 -m venv "$folder/v"
"$folder/v/bin/pip" install -q --disable-pip-version-check openai==3.57.0 anthropic==2.14.0
( cd "$folder" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund openai@7.59.0 @anthropic-ai/sdk@1.14.0 ai@7.0.173 @ai-sdk/openai-compatible@3.0.92 )

cat > "$folder/server.py" <<'PY'
import http.server, json, sys

def event(data, name=None):
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(data) if isinstance(data, dict) else data}\n\n"

def chunk(delta, reason):
    return event({"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

def message(kind, **fields):
    return event({"type": kind, **fields}, kind)

USAGE = {"input_tokens": 1, "output_tokens": 1}
CHAT = {
    "text": chunk({"role": "assistant", "content": "a"}, None),
    "rest": chunk({}, "stop") + event("[DONE]"),
    "error": event({"error": {"message": "the engine failed", "type": "server_error", "code": 500}}),
}
MESSAGES = {
    "text": message("message_start", message={"id": "1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None, "stop_sequence": None, "usage": USAGE})
    + message("content_block_start", index=0, content_block={"type": "text", "text": ""})
    + message("content_block_delta", index=0, delta={"type": "text_delta", "text": "a"}),
    "rest": message("content_block_stop", index=0) + message("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 1}) + message("message_stop"),
    "error": message("error", error={"type": "api_error", "message": "the engine failed"}),
}

class Engine(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        end, events = self.path.split("/")[1], MESSAGES if self.path.endswith("messages") else CHAT
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        parts = {"whole": ["text", "rest"], "error": ["text", "error"]}.get(end, ["text"])
        for part in (events[name].encode() for name in parts):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        if end != "broken":
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True
    def log_message(self, *_): pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine)
print(server.server_port, flush=True)
server.serve_forever()
PY

cat > "$folder/probe.py" <<'PY'
import sys
import anthropic, openai
MESSAGES = [{"role": "user", "content": "x"}]
def chat(base):
    yield from openai.OpenAI(base_url=f"{base}/v1", api_key="k", max_retries=0).chat.completions.create(model="m", messages=MESSAGES, stream=True)
def chat_helper(base):
    with openai.OpenAI(base_url=f"{base}/v1", api_key="k", max_retries=0).chat.completions.stream(model="m", messages=MESSAGES) as stream:
        yield from stream
        stream.get_final_completion()
def messages(base):
    yield from anthropic.Anthropic(base_url=base, api_key="k", max_retries=0).messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=True)
def messages_helper(base):
    with anthropic.Anthropic(base_url=base, api_key="k", max_retries=0).messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
        yield from stream
        stream.get_final_message()
CALLS = {"openai (Python), create": chat, "openai (Python), stream": chat_helper, "anthropic (Python), create": messages, "anthropic (Python), stream": messages_helper}
for name, call in CALLS.items():
    for end in ("whole", "clean", "error", "broken"):
        try:
            for _ in call(f"{sys.argv[1]}/{end}"):
                pass
            print(name, end, "->", "whole")
        except (openai.OpenAIError, anthropic.AnthropicError):
            print(name, end, "->", "error")
        except Exception as error:
            print(name, end, "->", "foreign error,", type(error).__name__)
PY

cat > "$folder/probe.mjs" <<'JS'
import OpenAI from 'openai';
import Anthropic from '@anthropic-ai/sdk';
import { streamText } from 'ai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
const messages = [{ role: 'user', content: 'x' }];
const all = async (stream) => { for await (const _ of stream); };
const options = (base) => ({ baseURL: base, apiKey: 'k', maxRetries: 0 });
const calls = {
  'openai (JS), create': async (base) => all(await new OpenAI(options(`${base}/v1`)).chat.completions.create({ model: 'm', messages, stream: true })),
  'openai (JS), stream': async (base) => { const stream = new OpenAI(options(`${base}/v1`)).chat.completions.stream({ model: 'm', messages }); await stream.finalChatCompletion(); },
  'anthropic (JS), create': async (base) => all(await new Anthropic(options(base)).messages.create({ model: 'm', max_tokens: 9, messages, stream: true })),
  'anthropic (JS), stream': async (base) => { await new Anthropic(options(base)).messages.stream({ model: 'm', max_tokens: 9, messages }).finalMessage(); },
  'ai, streamText': async (base) => {
    const model = createOpenAICompatible({ name: 'x', baseURL: `${base}/v1`, apiKey: 'k' })('m');
    for await (const part of streamText({ model, prompt: 'x', maxRetries: 0, onError: () => {} }).fullStream) {
      if (part.type === 'error') throw part.error;
    }
  },
};
for (const [name, call] of Object.entries(calls)) {
  for (const end of ['whole', 'clean', 'error', 'broken']) {
    try { await call(`${process.argv[2]}/${end}`); console.log(name, end, '->', 'whole'); }
    catch (error) {
      const own = error instanceof OpenAI.OpenAIError || error instanceof Anthropic.AnthropicError || error?.name?.startsWith('AI_');
      console.log(name, end, '->', own ? 'error' : `foreign error, ${error?.constructor?.name}`);
    }
  }
}
JS

python3 "$folder/server.py" > "$folder/port" &
server=$!
trap 'kill $server; rm -rf "$folder"' EXIT
until [ -s "$folder/port" ]; do sleep 0.1; done
base="http://127.0.0.1:$(cat "$folder/port")"
{ "$folder/v/bin/python" "$folder/probe.py" "$base"; ( cd "$folder" && node probe.mjs "$base" 2>/dev/null ); } | tee "$folder/output"
diff <(sed -n 's/^#> //p' "$here/$(basename "$0")") "$folder/output" && echo "unchanged"
exit

#> openai (Python), create whole -> whole
#> openai (Python), create clean -> whole
#> openai (Python), create error -> error
#> openai (Python), create broken -> error
#> openai (Python), stream whole -> whole
#> openai (Python), stream clean -> whole
#> openai (Python), stream error -> error
#> openai (Python), stream broken -> error
#> anthropic (Python), create whole -> whole
#> anthropic (Python), create clean -> whole
#> anthropic (Python), create error -> error
#> anthropic (Python), create broken -> foreign error, RemoteProtocolError
#> anthropic (Python), stream whole -> whole
#> anthropic (Python), stream clean -> whole
#> anthropic (Python), stream error -> error
#> anthropic (Python), stream broken -> foreign error, RemoteProtocolError
#> openai (JS), create whole -> whole
#> openai (JS), create clean -> whole
#> openai (JS), create error -> error
#> openai (JS), create broken -> foreign error, TypeError
#> openai (JS), stream whole -> whole
#> openai (JS), stream clean -> error
#> openai (JS), stream error -> error
#> openai (JS), stream broken -> error
#> anthropic (JS), create whole -> whole
#> anthropic (JS), create clean -> whole
#> anthropic (JS), create error -> error
#> anthropic (JS), create broken -> foreign error, TypeError
#> anthropic (JS), stream whole -> whole
#> anthropic (JS), stream clean -> error
#> anthropic (JS), stream error -> error
#> anthropic (JS), stream broken -> error
#> ai, streamText whole -> whole
#> ai, streamText clean -> error
#> ai, streamText error -> error
#> ai, streamText broken -> error
