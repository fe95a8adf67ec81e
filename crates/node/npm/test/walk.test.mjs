// A hundred thousand random operations end in one number, the same in every language.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Walk } from './support/walk.mjs';

test('a long walk ends in the fixed digest', () => {
  const { seed, operations, digest } = JSON.parse(
    readFileSync(new URL('../../../core/tests/walk.json', import.meta.url), 'utf8'),
  );
  assert.equal(new Walk(seed).run(operations), digest);
});
