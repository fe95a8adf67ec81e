// A model server for tests: it answers in one manner, well or badly, as an OpenAI server does.
import { createServer } from 'node:http';
import { once } from 'node:events';

const event = (data) => `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
const words = ['Hello', ',', ' world'].map((content) => event({ choices: [{ index: 0, delta: { content } }] }));
const end = event({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }) + event('[DONE]');
const failed = event({ error: { message: 'the engine died', code: 500 } });
const refused = event({ error: { message: 'bad request', code: 400 } });

/**
 * Output of each manner. A number is a status with an error body. A manner that `holds` stays open
 * after its first token.
 */
const MANNERS = {
  good: [...words, end],
  empty: [],
  breaks: words.slice(0, 1),
  holds: words.slice(0, 1),
  dies: [],
  error: [words[0], failed],
  fails: [failed],
  refuses: [refused],
};

/** Starts an engine; returns its address and the requests that it received. */
export async function startEngine(manner = 'good') {
  const asked = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      asked.push({ path: request.url, ...JSON.parse(body) });
      const status = request.headers['content-type'] === 'application/json' ? manner : 415;
      if (typeof status === 'number') {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(JSON.stringify({ error: { message: `status ${status}`, code: status } }));
        return;
      }
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      const sent = MANNERS[manner].join('');
      const over = () => {
        if (['breaks', 'dies'].includes(manner)) response.destroy();
        else if (manner !== 'holds') response.end();
      };
      // What breaks off does so in the middle: when its beginning has gone out.
      sent === '' ? over() : response.write(sent, over);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    asked,
    async stop() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** The text of an answer's stream. */
export async function textOf(stream) {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    text += decoder.decode(chunk, { stream: true });
  }
  return [...text.matchAll(/^data: (\{.*)$/gm)]
    .map(([, data]) => JSON.parse(data).choices?.[0].delta.content ?? '')
    .join('');
}
