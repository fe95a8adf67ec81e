// The code of the README and of the manual compiles with the types of the real packages, and runs.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import { Engine } from './engine.mjs';

const ts = createRequire(new URL('../../package.json', import.meta.url))('typescript');
const root = new URL('../../../../../', import.meta.url);
const here = fileURLToPath(new URL('.', import.meta.url));
const PAGES = ['README.md', 'crates/node/npm/README.md', 'docs/src/node_hosts.md'];
let folder;

before(() => {
  // Inside the package, where the others are known by their names.
  folder = mkdtempSync(join(here, 'tmp-'));
});

after(() => rmSync(folder, { recursive: true, force: true }));

function blocks(page) {
  const text = readFileSync(new URL(page, root), 'utf8');
  return [...text.matchAll(/```ts\n([^]*?)```/g)].map(([, code]) => code);
}

test('the code compiles with the types of the real packages', () => {
  const files = PAGES.flatMap((page, at) =>
    blocks(page).map((code, number) => {
      const file = join(folder, `${at}-${number}.mts`);
      writeFileSync(file, code);
      return file;
    }));
  assert.ok(files.length >= 6, String(files.length));
  const zeromq = join(folder, 'zeromq.mts');
  writeFileSync(zeromq, "import * as zeromq from 'zeromq';\nimport type { ZeroMq } from 'slotwise/engines';\nexport const fits: ZeroMq = zeromq;\n");
  const options = {
    noEmit: true,
    strict: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.Node16,
    types: ['node'],
    typeRoots: [fileURLToPath(new URL('../../node_modules/@types', import.meta.url))],
  };
  const found = ts
    .getPreEmitDiagnostics(ts.createProgram([...files, zeromq], options))
    .map(({ file, messageText }) => `${file?.fileName ?? ''}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
  assert.deepEqual(found, []);
});

for (const page of PAGES) {
  test(`the client library of ${page} streams an answer, and its process ends by itself`, async () => {
    const engines = await Promise.all(['good', 'dies'].map((manner) => new Engine(manner).start()));
    const [code] = blocks(page).filter((one) => one.includes("from 'openai'"));
    const file = join(folder, `${PAGES.indexOf(page)}.mjs`);
    writeFileSync(file, ts.transpileModule(code, { compilerOptions: { target: 'es2022', module: 'esnext' } }).outputText);
    const env = { ...process.env, ENGINES: engines.map(({ url }) => url).join() };
    const ran = await new Promise((resolve) => {
      execFile(process.execPath, [file], { env }, (error, stdout, stderr) => resolve({ error, stdout, stderr }));
    });
    await Promise.all(engines.map((engine) => engine.stop()));
    assert.deepEqual([ran.error, ran.stdout], [null, 'Hello, world'], ran.stderr);
  });
}
