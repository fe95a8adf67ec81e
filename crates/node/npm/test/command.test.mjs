// The command `slotwise config`: the cases that the Python package has, too.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'node:test';

const root = new URL('..', import.meta.url);
const { bin } = JSON.parse(readFileSync(new URL('package.json', root), 'utf8'));
const command = fileURLToPath(new URL(bin.slotwise, root));
const cases = JSON.parse(readFileSync(new URL('../../../tests/command/cases.json', root), 'utf8'));

for (const expected of cases) {
  test(expected.doc, (context) => {
    const cwd = mkdtempSync(join(tmpdir(), 'slotwise-'));
    context.after(() => rmSync(cwd, { recursive: true }));
    for (const [name, text] of Object.entries(expected.files ?? {})) {
      writeFileSync(join(cwd, name), text);
    }
    for (const [name, bytes] of Object.entries(expected.bytes ?? {})) {
      writeFileSync(join(cwd, name), Uint8Array.from(bytes));
    }
    const input = expected.stdin ?? '';
    const run = spawnSync(process.execPath, [command, ...expected.arguments], { cwd, input, encoding: 'utf8' });
    assert.equal(run.status, expected.code ?? 0, run.stderr);
    for (const stream of ['stdout', 'stderr']) {
      const start = expected[`${stream}_start`];
      if (start === undefined) {
        assert.equal(run[stream], expected[stream] ?? '');
      } else {
        assert.ok(run[stream].startsWith(start), run[stream]);
      }
    }
  });
}
