// Times of batches, in microseconds a call: `node bench/<what>.mjs [batches]`.
import { createRequire } from 'node:module';
import { cpus } from 'node:os';

const native = createRequire(import.meta.url)('../native/index.js');
const batches = Number(process.argv[2] ?? 300);
const BATCH = 100;

/**
 * Prints the heading of a table and returns the function that measures a row. The first row is the
 * cost of an empty call.
 */
export function table(width) {
  const measure = (name, call) => {
    for (let warm = 0; warm < 20 * BATCH; warm += 1) {
      call();
    }
    const times = new Float64Array(batches);
    for (let batch = 0; batch < batches; batch += 1) {
      const begin = process.hrtime.bigint();
      for (let at = 0; at < BATCH; at += 1) {
        call();
      }
      times[batch] = Number(process.hrtime.bigint() - begin) / BATCH / 1_000;
    }
    times.sort();
    const at = (share) => times[Math.min(batches - 1, Math.floor(share * batches))].toFixed(3).padStart(9);
    console.log(`${name.padEnd(width)} ${at(0.5)} ${at(0.99)}`);
  };
  console.log(`${cpus()[0].model}, Node ${process.version}, ${batches} batches of ${BATCH}`);
  console.log(`${'us a call'.padEnd(width)}    median       p99`);
  measure('an empty native function', () => native.noop());
  return measure;
}
