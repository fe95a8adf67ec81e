#!/usr/bin/env bash
# How clients' SDKs treat `Retry-After` and `retry-after-ms` of a 429, by its length.
#
# For authors of gateways: an SDK that rejects a wait does not wait longer but not at all. A local
# server answers 429 once, then 200, and counts requests. Sleeping is replaced by a note of its
# length. Installs pinned public packages in a temporary folder. Needs bash, Python >= 3.11 with
# pip, Node >= 20 with npm, and a network for the installation only. Fails if the behaviour changes.
#
# The end of this file has the output of 2026-11-29: the seconds that each SDK sleeps before it
# retries. `-` is an SDK that does not retry. `backoff` is one that ignores the header and retries
# by its own rule, usually at once. Up to 59 s, all of them wait as long as the header requests.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
here=$(cd "$(dirname "$0")" && pwd)
python3 -m venv "$folder/v"
"$folder/v/bin/pip" install -q --disable-pip-version-check openai==3.57.0 anthropic==2.14.0
( cd "$folder" && npm init -y >/dev/null && npm install --silent --no-audit --no-fund openai@7.59.0 @anthropic-ai/sdk@1.14.0 ai@7.0.173 @ai-sdk/openai-compatible@3.0.92 )

cat > "$folder/probe.py" <<'PY'
import http.server, json, threading, time
import anthropic, openai

class Server(http.server.BaseHTTPRequestHandler):
    headers_sent, requests = {}, 0
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        Server.requests += 1
        body = b'{"error":{"message":"full"}}' if Server.requests == 1 else ANSWERS[self.path].encode()
        self.send_response(429 if Server.requests == 1 else 200)
        for name, value in Server.headers_sent.items() if Server.requests == 1 else ():
            self.send_header(name, value)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass

ANSWERS = {
    "/chat/completions": json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}]}),
    "/v1/messages": json.dumps({"id": "1", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}),
}
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
base = f"http://127.0.0.1:{server.server_port}"
slept = []
time.sleep = slept.append
MESSAGES = [{"role": "user", "content": "x"}]
def with_openai():
    openai.OpenAI(base_url=base, api_key="k").chat.completions.create(model="m", messages=MESSAGES)
def with_anthropic():
    anthropic.Anthropic(base_url=base, api_key="k").messages.create(model="m", max_tokens=9, messages=MESSAGES)
for name, call in (("openai (Python)", with_openai), ("anthropic (Python)", with_anthropic)):
    for headers in ({"retry-after-ms": "1500"}, *({"retry-after": str(s)} for s in (5, 59, 60, 61, 119, 121, 600))):
        slept.clear(); Server.requests, Server.headers_sent = 0, headers
        try:
            call()
        except Exception:
            pass
        wait = sum(slept)
        print(name, *(f"{k}={v}" for k, v in headers.items()), "->", "-" if Server.requests == 1 else "backoff" if wait < 1 else f"{wait:g}")
PY

cat > "$folder/probe.mjs" <<'JS'
import http from 'node:http';
import OpenAI from 'openai';
import Anthropic from '@anthropic-ai/sdk';
import { generateText } from 'ai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
let requests = 0, sent = {};
const chat = { id: '1', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, finish_reason: 'stop', message: { role: 'assistant', content: 'a' } }], usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } };
const message = { id: '1', type: 'message', role: 'assistant', model: 'm', content: [], stop_reason: 'end_turn', usage: { input_tokens: 1, output_tokens: 1 } };
const server = http.createServer((request, response) => {
  request.resume().on('end', () => {
    requests += 1;
    response.writeHead(requests === 1 ? 429 : 200, { 'content-type': 'application/json', ...(requests === 1 ? sent : {}) });
    response.end(JSON.stringify(requests === 1 ? { error: { message: 'full' } } : request.url.endsWith('messages') ? message : chat));
  });
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const base = `http://127.0.0.1:${server.address().port}`;
const real = globalThis.setTimeout;
let slept = [];
// Sleeps of a retry end at once; the long time limits of requests stay.
globalThis.setTimeout = (call, ms, ...rest) => {
  if (requests === 1 && new Error().stack.match(/sleep|delay|retry/i)) { slept.push(ms); return real(call, 0, ...rest); }
  return real(call, ms, ...rest);
};
const messages = [{ role: 'user', content: 'x' }];
const clients = {
  'openai (JS)': () => new OpenAI({ baseURL: base, apiKey: 'k' }).chat.completions.create({ model: 'm', messages }),
  'anthropic (JS)': () => new Anthropic({ baseURL: base, apiKey: 'k' }).messages.create({ model: 'm', max_tokens: 9, messages }),
  'ai': () => generateText({ model: createOpenAICompatible({ name: 'x', baseURL: base, apiKey: 'k' })('m'), prompt: 'x' }),
};
for (const [name, call] of Object.entries(clients)) {
  for (const headers of [{ 'retry-after-ms': '1500' }, ...[5, 59, 60, 61, 119, 121, 600].map((s) => ({ 'retry-after': String(s) }))]) {
    [requests, sent, slept] = [0, headers, []];
    try { await call(); } catch (error) { if (process.env.DEBUG) console.error(error); }
    const wait = slept.reduce((sum, ms) => sum + ms, 0) / 1000;
    const [[key, value]] = Object.entries(headers);
    const asked = key === 'retry-after-ms' ? value / 1000 : Number(value);
    console.log(name, `${key}=${value}`, '->', requests === 1 ? '-' : wait === asked ? wait : 'backoff');
  }
}
server.close();
JS

{ "$folder/v/bin/python" "$folder/probe.py"; ( cd "$folder" && node probe.mjs 2>/dev/null ); } | tee "$folder/output"
diff <(sed -n 's/^#> //p' "$here/$(basename "$0")") "$folder/output" && echo "unchanged"
exit

#> openai (Python) retry-after-ms=1500 -> 1.5
#> openai (Python) retry-after=5 -> 5
#> openai (Python) retry-after=59 -> 59
#> openai (Python) retry-after=60 -> 60
#> openai (Python) retry-after=61 -> 61
#> openai (Python) retry-after=119 -> 119
#> openai (Python) retry-after=121 -> -
#> openai (Python) retry-after=600 -> -
#> anthropic (Python) retry-after-ms=1500 -> 1.5
#> anthropic (Python) retry-after=5 -> 5
#> anthropic (Python) retry-after=59 -> 59
#> anthropic (Python) retry-after=60 -> 60
#> anthropic (Python) retry-after=61 -> 61
#> anthropic (Python) retry-after=119 -> 119
#> anthropic (Python) retry-after=121 -> 121
#> anthropic (Python) retry-after=600 -> 600
#> openai (JS) retry-after-ms=1500 -> 1.5
#> openai (JS) retry-after=5 -> 5
#> openai (JS) retry-after=59 -> 59
#> openai (JS) retry-after=60 -> 60
#> openai (JS) retry-after=61 -> backoff
#> openai (JS) retry-after=119 -> backoff
#> openai (JS) retry-after=121 -> backoff
#> openai (JS) retry-after=600 -> backoff
#> anthropic (JS) retry-after-ms=1500 -> 1.5
#> anthropic (JS) retry-after=5 -> 5
#> anthropic (JS) retry-after=59 -> 59
#> anthropic (JS) retry-after=60 -> 60
#> anthropic (JS) retry-after=61 -> 61
#> anthropic (JS) retry-after=119 -> 119
#> anthropic (JS) retry-after=121 -> 121
#> anthropic (JS) retry-after=600 -> 600
#> ai retry-after-ms=1500 -> 1.5
#> ai retry-after=5 -> 5
#> ai retry-after=59 -> 59
#> ai retry-after=60 -> backoff
#> ai retry-after=61 -> backoff
#> ai retry-after=119 -> backoff
#> ai retry-after=121 -> backoff
#> ai retry-after=600 -> backoff
