// What a decision costs from JavaScript: times of batches, in microseconds a call.
//
//   node bench/pick.mjs [batches]
//
// `pick` is a decision and the end of an older request, as in the core's benchmark of that name.
import { Gateway, prompts } from './workload.mjs';
import { table } from './measure.mjs';

const measure = table(44);
const bare = new Gateway(8).scheduler;
measure('a native method: cancel of an unknown id', () => bare.cancel(999_999));
measure('pick + cancel, no prompt, 8 endpoints', () => bare.cancel(bare.pick('').requestId));

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

const scored = new Gateway(8, { cost: ({ cost }) => cost });
let next = 0;
measure('pick, 2,000 tokens, 8 endpoints, own scorer', () => scored.serve(all[next++ % all.length].tokens));

// What a number costs that is not in a typed array.
const list = Array.from(all[0].tokens);
const plain = new Gateway(8);
measure('pick, number[2000], 8 endpoints', () => plain.serve(list));
