// The prices of service levels: the core's table, which every language computes alike.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { pricesForServiceLevel, Scheduler } from 'slotwise';

const table = new URL('../../../core/tests/vectors/prices/service_levels.json', import.meta.url);
const rows = JSON.parse(readFileSync(table, 'utf8'));

const camelCase = (name) => name.replace(/_([a-z])/g, (_, letter) => letter.toUpperCase());

test('each service level has the prices of the table', () => {
  assert.ok(rows.length > 4);
  for (const { ttft, tpot, prices } of rows) {
    const expected = Object.entries(prices).map(([name, price]) => [camelCase(name), price]);
    const found = pricesForServiceLevel({ ttftMs: ttft * 1e3, tpotMs: tpot * 1e3 });
    assert.deepEqual(found, Object.fromEntries(expected));
    assert.deepEqual(new Scheduler({ prices: found }).config.prices, found);
  }
});

test('a service level needs both times', () => {
  assert.throws(() => pricesForServiceLevel({ ttftMs: 1_000 }), TypeError);
  assert.throws(() => pricesForServiceLevel({ ttftMs: -1, tpotMs: 100 }), RangeError);
  assert.throws(() => pricesForServiceLevel({ ttftMs: 1_000, tpotMs: 100, itl: 3 }), TypeError);
});
