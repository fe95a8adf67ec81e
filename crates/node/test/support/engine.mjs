// A model server for tests: it streams an answer as server-sent events, in the manner of OpenAI.
import { createServer } from 'node:http';
import { once } from 'node:events';

/** Starts an engine and says where it is, and what it was asked. */
export async function startEngine({ words = ['Hello', ',', ' world'], breakAfter = Infinity, status = 200 } = {}) {
  const asked = [];
  const server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8');
    request.on('data', (chunk) => (body += chunk));
    request.on('end', () => {
      asked.push({ path: request.url, ...JSON.parse(body) });
      response.writeHead(status, { 'content-type': 'text/event-stream' });
      const event = (data) => `data: ${data}\n\n`;
      const whole = [...words.map((content) => JSON.stringify({ choices: [{ delta: { content } }] })), '[DONE]'];
      const sent = whole.slice(0, breakAfter).map(event).join('');
      // What breaks off does so in the middle: when its beginning has gone out.
      response.write(sent, () => (sent.length < whole.map(event).join('').length ? response.destroy() : response.end()));
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
    .map(([, data]) => JSON.parse(data).choices[0].delta.content)
    .join('');
}
