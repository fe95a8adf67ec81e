// What a decision costs from JavaScript: times of batches, in microseconds a call.
//
//   node bench/pick.mjs [batches]
//
// `pick` is a decision and the end of an older request, as in the core's benchmark of that name.
import { createRequire } from 'node:module';
import { cpus } from 'node:os';
import { Gateway, prompts } from './workload.mjs';

const native = createRequire(import.meta.url)('../native/index.js');
const batches = Number(process.argv[2] ?? 300);
const BATCH = 100;

function measure(name, call) {
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
  console.log(`${name.padEnd(44)} ${at(0.5)} ${at(0.99)}`);
}

console.log(`${cpus()[0].model}, Node ${process.version}, ${batches} batches of ${BATCH}`);
console.log(`${'us a call'.padEnd(44)}    median       p99`);

measure('an empty native function', () => native.noop());
const bare = new Gateway(8).scheduler;
measure('a native method: cancel of an unknown id', () => bare.cancel(999_999));
measure('pick + cancel, no prompt, 8 endpoints', () => bare.cancel(bare.pick('').request));

const all = prompts(2_000, 8 << 10, 2_000, 1);
for (const [form, name] of [['buffer', '8 KB text, Buffer'], ['string', '8 KB text, string'], ['tokens', '2,000 tokens']]) {
  for (const endpoints of [8, 64, 1_024]) {
    const gateway = new Gateway(endpoints);
    let next = 0;
    const serve = () => {
      gateway.serve(all[next][form]);
      next = (next + 1) % all.length;
    };
    for (let served = 0; served < all.length; served += 1) {
      serve();
    }
    measure(`pick, ${name}, ${endpoints} endpoints`, serve);
  }
}

const scored = new Gateway(8, { scorer: ({ cost }) => cost });
let next = 0;
measure('pick, 2,000 tokens, 8 endpoints, own scorer', () => scored.serve(all[next++ % all.length].tokens));

// What a number costs that is not in a typed array.
const list = Array.from(all[0].tokens);
const plain = new Gateway(8);
measure('pick, number[2000], 8 endpoints', () => plain.serve(list));
