// What stays behind: millions of picks and completions, and the memory of the process on the way.
//
//   node --expose-gc bench/memory.mjs [millions]
import { Gateway, prompts } from './workload.mjs';

const millions = Number(process.argv[2] ?? 1);
const total = Math.round(millions * 1e6);
const gateway = new Gateway(8);
const all = prompts(2_000, 2_000, 500, 1);
const forms = ['string', 'buffer', 'tokens'];
const every = Math.max(1, Math.floor(total / 10));

console.log('     picks    rss MB   heap MB  external MB  in flight');
const held = [];
for (let done = 0; done <= total; done += 1) {
  if (done % every === 0) {
    globalThis.gc?.();
    const { rss, heapUsed, external } = process.memoryUsage();
    held.push((heapUsed + external) / 2 ** 20);
    const megabytes = [rss, heapUsed, external].map((bytes) => (bytes / 2 ** 20).toFixed(1));
    const { inFlight } = gateway.scheduler.stats();
    console.log(`${String(done).padStart(10)} ${megabytes[0].padStart(9)} ${megabytes[1].padStart(9)} ${megabytes[2].padStart(12)} ${String(inFlight).padStart(10)}`);
  }
  gateway.serve(all[done % all.length][forms[done % 3]]);
}

// The first tenth fills what is bounded; after it, nothing may grow.
const grown = held.at(-1) - held[1];
console.log(`grown by ${grown.toFixed(1)} MB after the first tenth`);
process.exitCode = grown > 8 ? 1 : 0;
