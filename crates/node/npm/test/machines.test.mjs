// Machines: the same cases as in Rust, and the typed faces of Node.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { NoRouteError, Routing } from 'slotwise/routing';

const { Machine } = createRequire(import.meta.url)('../dist/machine.js');
const folder = new URL('../../../gateway/tests/machines/', import.meta.url);

for (const file of readdirSync(folder).sort()) {
  test(`every call has the expected answer: ${file}`, () => {
    for (const { doc, kind, arguments: given, calls, error } of JSON.parse(readFileSync(new URL(file, folder), 'utf8'))) {
      if (error !== undefined) {
        assert.throws(() => new Machine(kind, given), (thrown) => thrown.message.includes(error), doc);
        continue;
      }
      const machine = new Machine(kind, given);
      for (const call of calls) {
        const answer = () => machine.call(call.call, call.arguments);
        if (call.error === undefined) {
          assert.deepEqual(answer(), call.expect, doc);
        } else {
          assert.throws(answer, (thrown) => thrown.message.includes(call.error), doc);
        }
      }
    }
  });
}

test('a route is typed', () => {
  const routing = new Routing({ pools: [{ name: 'a' }], rules: [{ name: 'r', backends: [{ pool: 'a' }], timeout: 2 }] });
  const target = { pool: 'a', model: 'm', base: 'm', adapter: null };
  const route = { rule: 'r', target, fallbacks: [], mirrors: [], priority: null, timeoutMs: 2_000 };
  assert.deepEqual(routing.route('m', { path: '/v1', headers: { x: '1' } }), route);
  assert.deepEqual(routing.models(), []);
  assert.throws(() => new Routing({}).route('m'), (error) => {
    return error instanceof NoRouteError && error.code === 'model_not_found' && error.httpStatus === 404;
  });
});
