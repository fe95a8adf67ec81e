// The types hold under `tsc --strict`, for ES modules and CommonJS, and so does the README.
import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));
const parsed = new Map();
let folder;

before(() => {
  // Inside the package, where it is known by its name.
  folder = mkdtempSync(join(root, 'test', 'types', 'tmp-'));
});

after(() => rmSync(folder, { recursive: true, force: true }));

/** The errors of `tsc --strict` for files, one per line. */
function complaints(files, more = { types: ['node'] }) {
  const options = {
    noEmit: true,
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.Node16,
    ...more,
  };
  const host = ts.createCompilerHost(options);
  host.getCurrentDirectory = () => root;
  const read = host.getSourceFile;
  // Reading the libraries takes longest, and they do not change.
  host.getSourceFile = (name, ...rest) => {
    if (!/[\\/](typescript|@types)[\\/]/.test(name)) {
      return read(name, ...rest);
    }
    if (!parsed.has(name)) {
      parsed.set(name, read(name, ...rest));
    }
    return parsed.get(name);
  };
  return ts
    .getPreEmitDiagnostics(ts.createProgram(files, options, host))
    .map(({ file, messageText }) => `${file?.fileName ?? ''}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`);
}

for (const [kind, extension] of [['ES modules', 'mts'], ['CommonJS', 'cts']]) {
  test(`a consumer of ${kind} compiles, and its mistakes do not`, () => {
    const file = join(folder, `consumer.${extension}`);
    copyFileSync(join(root, 'test', 'types', 'consumer.ts'), file);
    assert.deepEqual(complaints([file]), []);
  });
}

test('mistakes are found', () => {
  const file = join(folder, 'mistake.mts');
  writeFileSync(file, "import { Scheduler } from 'slotwise';\nnew Scheduler().pick('x', { modle: 'm' });\n");
  assert.match(complaints([file]).join('\n'), /modle/);
});

test('without the types of Node, those of browsers do', () => {
  const file = join(folder, 'browser.mts');
  const code = "const lease = await new Scheduler().acquire('x');\nlease[Symbol.dispose]();\n";
  writeFileSync(file, `import { Scheduler } from 'slotwise';\n${code}`);
  assert.deepEqual(complaints([file], { types: [], lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'] }), []);
});

test('the code in the README compiles', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const codes = [...readme.matchAll(/```ts\n([^]*?)```/g)].map(([, code]) => code);
  // What needs packages of others is compiled where they are: in `hosts`.
  const blocks = codes.filter((code) => !code.includes("from 'openai'")).map((code, at) => {
    const file = join(folder, `readme-${at}.mts`);
    writeFileSync(file, code);
    return file;
  });
  assert.ok(blocks.length >= 2);
  // Code for people does not guard against explicit undefined.
  assert.deepEqual(complaints(blocks, { types: ['node'], exactOptionalPropertyTypes: false }), []);
});
