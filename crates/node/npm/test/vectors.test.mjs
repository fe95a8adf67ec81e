// What every language must decide, step by step: the same files as the core's own tests read.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { Runner } from './support/vector.mjs';

const folder = new URL('../../../core/tests/vectors/', import.meta.url);
// Hashes are not in the package's surface; every decision depends on them.
const files = readdirSync(folder).filter((file) => file.endsWith('.json') && file !== 'hashes.json');

test('there are vectors', () => {
  assert.ok(files.length >= 13, `only ${files.length} files were found`);
});

for (const file of files.sort()) {
  test(file.replaceAll('_', ' ').replace('.json', ''), () => {
    const vector = JSON.parse(readFileSync(new URL(file, folder), 'utf8'));
    const runner = new Runner(vector);
    assert.ok(vector.steps.length > 0);
    for (const [at, step] of vector.steps.entries()) {
      assert.deepEqual(runner.answer(step), step.expect ?? null, `step ${at + 1} of ${file}`);
    }
  });
}
