// What bytes mean, in every language: the same files as the Rust crate's own tests read.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { WireRunner } from './support/wire.mjs';

const folder = new URL('../../../wire/tests/vectors/', import.meta.url);
const files = readdirSync(folder).filter((file) => file.endsWith('.json'));

test('there are vectors', () => {
  assert.ok(files.length >= 7, `only ${files.length} files were found`);
});

for (const file of files.sort()) {
  test(file.replaceAll('_', ' ').replace('.json', ''), async () => {
    const vector = JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
    const runner = new WireRunner();
    assert.ok(vector.steps.length > 0);
    for (const [at, step] of vector.steps.entries()) {
      assert.deepEqual(await runner.answer(step), step.expect, `step ${at + 1} of ${file}: ${step.call}`);
    }
  });
}
