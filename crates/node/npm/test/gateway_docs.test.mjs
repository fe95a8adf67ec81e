// The examples of the manual's page about the gateway run as they are.
import assert from 'node:assert/strict';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { test } from 'node:test';
import ts from 'typescript';

const page = readFileSync(new URL('../../../../docs/src/node_gateway.md', import.meta.url), 'utf8');
const examples = [...page.matchAll(/^```ts\n([^]*?)^```/gm)].map(([, code]) => code);

test('the page has its examples', () => assert.equal(examples.length, 3));

for (const [number, code] of examples.entries()) {
  const compilerOptions = { target: 'es2022', module: 'esnext' };
  const { outputText } = ts.transpileModule(code, { compilerOptions });
  test(`example ${number + 1} prints what its comments say, and its process ends by itself`, async (t) => {
    // Inside the package, where it is known by its name.
    const file = fileURLToPath(new URL(`./example.${process.pid}.${number}.tmp.mjs`, import.meta.url));
    writeFileSync(file, outputText);
    t.after(() => rmSync(file, { force: true }));
    const { stdout } = await promisify(execFile)(process.execPath, [file]);
    const expected = [...code.matchAll(/^console\.log.*; \/\/ (.*)$/gm)].map(([, line]) => `${line}\n`);
    assert.equal(stdout, expected.join(''));
  });
}
