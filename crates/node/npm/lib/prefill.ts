/** The prefills of disaggregated requests, on endpoints of their own. */
import { Abort } from './abort.js';
import type { EngineAnswer } from './engine_answer.js';

/** A prefill that has not ended. */
export interface Prefilling {
  requestId: number;
  attempt: Abort;
  /** Resolves to the whole answer, or to undefined after a failure. */
  ended: Promise<{ status: number; body: Uint8Array } | undefined>;
}

/** Rooms of other gateways must differ. */
export function randomSalt(): number {
  const [high = 0, low = 0] = crypto.getRandomValues(new Uint32Array(2));
  return (high >>> 11) * 2 ** 32 + low;
}

/** Asks a prefilling endpoint, whose answer has at most `limit` bytes. */
export function prefilling(requestId: number, ask: (attempt: Abort) => Promise<EngineAnswer>, limit: number): Prefilling {
  const attempt = new Abort();
  const left = new Promise<undefined>((resolve) => {
    attempt.addEventListener('abort', () => resolve(undefined));
  });
  const answer = whole(() => ask(attempt), limit);
  return { requestId, attempt, ended: Promise.race([answer.catch(() => undefined), left]) };
}

/** The whole answer of a prefilling endpoint. */
async function whole(
  ask: () => Promise<EngineAnswer>,
  limit: number,
): Promise<{ status: number; body: Uint8Array }> {
  const answer = await ask();
  const chunks: Uint8Array[] = [];
  let length = 0;
  for (let chunk = await answer.read(); chunk !== undefined; chunk = await answer.read()) {
    chunks.push(chunk);
    length += chunk.length;
    if (length > limit) {
      answer.cancel();
      throw new Error('the answer to the prefill is too long');
    }
  }
  return { status: answer.status, body: Buffer.concat(chunks) };
}

/** Of an answer that comes too late, nothing is read. */
export function discard(sent: Promise<EngineAnswer> | undefined): void {
  Promise.resolve(sent).then((late) => late?.cancel()).catch(() => undefined);
}
