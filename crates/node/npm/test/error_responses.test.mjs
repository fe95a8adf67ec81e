// Errors become responses in the shape that the clients of each API parse.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { IdleTimeoutError, RejectedError, Scheduler, WireError } from 'slotwise';
import { errorResponse, failureResponse, shapeOf } from 'slotwise/error_responses';
import { Ingress } from 'slotwise/ingress';

const MESSAGES = '/v1/messages';
const read = ({ status, headers, body }) => [status, Object.fromEntries(headers), JSON.parse(Buffer.from(body))];

test('the shape is that of the API at the path', () => {
  assert.deepEqual([MESSAGES, '/v1/chat/completions', '/x', ''].map(shapeOf), ['anthropic', 'openai', 'openai', 'openai']);
});

test('a failure has its status, code, message and headers', () => {
  const headers = [['x-request-id', '7']];
  const response = failureResponse(429, 'busy', 'too many', { headers });
  assert.deepEqual(read(response), [
    429,
    { 'content-type': 'application/json', 'x-request-id': '7' },
    { error: { message: 'too many', type: 'rate_limit_error', param: null, code: 'busy' } },
  ]);
  const types = (path) => [404, 418, 500, 504].map((status) => read(failureResponse(status, 'c', 'm', { path }))[2].error.type);
  assert.deepEqual(types(''), ['invalid_request_error', 'invalid_request_error', 'server_error', 'server_error']);
  assert.deepEqual(types(MESSAGES), ['not_found_error', 'invalid_request_error', 'api_error', 'timeout_error']);
  assert.throws(() => failureResponse(200, 'c', 'm'), RangeError);
  assert.throws(() => failureResponse(404, 'c', 'm', { pth: '/' }), /pth/);
});

test('each error has its status', () => {
  const rejected = new Scheduler().pick('x');
  const wire = new WireError('a string does not end', 'truncated', 3);
  const aborted = AbortSignal.abort().reason;
  const late = new DOMException('late', 'TimeoutError');
  for (const [error, status, code] of [
    [rejected, 503, 'no_endpoints'],
    [new RejectedError(rejected), 503, 'no_endpoints'],
    [wire, 400, 'truncated'],
    [aborted, 499, 'client_disconnected'],
    [late, 504, 'timeout'],
    [new IdleTimeoutError(5, false), 504, 'timeout'],
    [new Error('a secret'), 500, 'internal_error'],
    [undefined, 500, 'internal_error'],
  ]) {
    const [got, , body] = read(errorResponse(error));
    assert.deepEqual([got, body.error.code], [status, code]);
    assert.doesNotMatch(JSON.stringify(body), /secret/);
    assert.equal(read(errorResponse(error, { path: MESSAGES }))[2].type, 'error');
  }
});

test('a refusal of the ingress keeps its headers', () => {
  const ingress = new Ingress({ gates: { keys: [] } });
  assert.throws(
    () => ingress.admit({ model: 'm', headers: { authorization: 'Bearer none' } }),
    (error) => {
      const [status, headers, body] = read(errorResponse(error, { path: MESSAGES }));
      assert.deepEqual([status, body.type], [error.httpStatus, 'error']);
      assert.deepEqual(headers, Object.fromEntries(error.headers));
      return true;
    },
  );
});
