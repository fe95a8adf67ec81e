// What bytes mean, in every language: the same files as the Rust crate's own tests read.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { WireRunner } from './support/wire.mjs';

const folders = ['wire', 'gateway'].map((crate) => new URL(`../../../${crate}/tests/vectors/`, import.meta.url));
const files = folders.flatMap((folder) => readdirSync(folder).map((file) => new URL(file, folder)));

test('there are vectors', () => {
  assert.ok(files.length >= 7, `only ${files.length} files were found`);
});

for (const file of files) {
  const name = basename(file.pathname, '.json');
  test(name.replaceAll('_', ' '), async () => {
    const vector = JSON.parse(readFileSync(file, 'utf8'));
    const runner = new WireRunner();
    assert.ok(vector.steps.length > 0);
    for (const [at, step] of vector.steps.entries()) {
      assert.deepEqual(await runner.answer(step), step.expect, `step ${at + 1} of ${name}: ${step.call}`);
    }
  });
}
