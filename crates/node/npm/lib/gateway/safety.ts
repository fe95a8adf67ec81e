/**
 * Checks of prompts and answers by a function of the host.
 *
 * ```ts
 * const judge: SafetyFunction = async (texts) =>
 *   texts.some((text) => text.includes('secret')) ? new Block('secrets') : undefined;
 * ```
 *
 * The function judges all texts of a prompt, and pieces of an answer while it streams. How much
 * text is held back meanwhile, and what applies if the function fails or takes too long, is set by
 * `gates.safety` of the configuration.
 */
import { SafetyCheck, type GatesConfig, type Question } from '../gates.js';
import type { Chunks } from './answer.js';
import { described, type Log } from './log.js';

/** What is judged: a prompt, a whole answer, or an answer while it streams. */
export type SafetyStage = 'prompt' | 'answer' | 'stream';

/** The prompt or the answer is blocked. */
export class Block {
  /** `reason` is for the client. */
  constructor(readonly reason: string = '') {}
}

/** `undefined` and `null` let the texts pass; as many texts replace them. */
export type Verdict = Block | readonly string[] | undefined | null;

/** What a function gets beside the texts. */
export interface SafetyContext {
  readonly stage: SafetyStage;
  /** The name of the client's key. */
  readonly caller: string;
}

/** The function of the host, with or without a promise. */
export type SafetyFunction = (
  texts: readonly string[],
  context: SafetyContext,
) => Verdict | void | Promise<Verdict | void>;

/** What checks have in common. */
interface Checking {
  readonly judge: SafetyFunction;
  readonly config: GatesConfig | undefined;
  readonly shape: 'openai' | 'anthropic';
  readonly caller: string;
  readonly log: Log;
}

/** The checks of one request. */
export class Safety {
  readonly #checking: Checking;

  constructor(checking: Checking) {
    this.#checking = checking;
  }

  /** The body for the engine. Throws a `RefusedError` if it is blocked. */
  async prompt(body: Uint8Array): Promise<Uint8Array> {
    const check = this.#check('prompt');
    const checked: Uint8Array[] = [];
    check.feed(body);
    check.finish();
    for (let question = check.pollQuestion(); question !== null; question = check.pollQuestion()) {
      await this.#judge('prompt', check, question);
    }
    for (let output = check.pollOutput(); output !== null; output = check.pollOutput()) {
      checked.push(output);
    }
    if (check.refused !== null) {
      throw check.refused;
    }
    return Buffer.concat(checked);
  }

  /** The chunks for the client. They end early if the answer is blocked. */
  answer(stage: SafetyStage, chunks: Chunks): Chunks {
    const check = this.#check(stage);
    let reading: Promise<{ chunk: Uint8Array | undefined }> | undefined;
    const next = async (): Promise<Uint8Array | undefined> => {
      for (;;) {
        const question = check.pollQuestion();
        if (question !== null) {
          await this.#judge(stage, check, question);
        }
        const output = check.pollOutput();
        if (output !== null) {
          return output;
        }
        if (check.ended) {
          return undefined;
        }
        if (!check.wantsInput) {
          continue;
        }
        reading ??= chunks.next().then((chunk) => ({ chunk }));
        const read = await before(reading, check.nextTimeout);
        if (read === undefined) {
          check.handleTimeout();
          continue;
        }
        reading = undefined;
        if (read.chunk === undefined) {
          check.finish();
        } else {
          check.feed(read.chunk);
        }
      }
    };
    const end = () => {
      // What is being read fails then, and no caller waits for it.
      reading?.catch(() => undefined);
      chunks.end();
    };
    return { next, end };
  }

  #check(stage: SafetyStage): SafetyCheck {
    const { config, shape } = this.#checking;
    return new SafetyCheck(stage, config, { shape });
  }

  /** Asks the function, and passes its verdict on. */
  async #judge(stage: SafetyStage, check: SafetyCheck, question: Question): Promise<void> {
    const { judge, caller, log } = this.#checking;
    const { id, texts, deadline } = question;
    try {
      const asked = Promise.resolve(judge(texts, { stage, caller })).then((verdict) => ({ verdict }));
      const judged = await before(asked, deadline);
      if (judged === undefined) {
        asked.catch(() => undefined);
        log('warning', `the safety function took too long for a ${stage}`);
        check.handleVerdict(id, { verdict: 'failed' });
        return;
      }
      report(check, question, judged.verdict, log);
    } catch (error) {
      log('error', `the safety function failed for a ${stage}: ${described(error)}`);
      check.handleVerdict(id, { verdict: 'failed' });
    }
  }
}

function report(check: SafetyCheck, { id, texts }: Question, verdict: unknown, log: Log): void {
  if (verdict === undefined || verdict === null) {
    check.handleVerdict(id, { verdict: 'allow' });
  } else if (verdict instanceof Block) {
    check.handleVerdict(id, { verdict: 'block', reason: verdict.reason });
  } else if (isTexts(verdict) && verdict.length === texts.length) {
    check.handleVerdict(id, { verdict: 'replace', texts: verdict });
  } else {
    log('error', `the safety function must return undefined, a Block or ${texts.length} texts`);
    check.handleVerdict(id, { verdict: 'failed' });
  }
}

function isTexts(verdict: unknown): verdict is readonly string[] {
  return Array.isArray(verdict) && verdict.every((text) => typeof text === 'string');
}

/** What a promise resolves to before this time; undefined after it. */
async function before<T>(promise: Promise<T>, deadline: number | null): Promise<T | undefined> {
  if (deadline === null) {
    return promise;
  }
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, Math.max(0, deadline - performance.now()), undefined);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
