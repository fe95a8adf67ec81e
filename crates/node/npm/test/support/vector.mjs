// The language of the JSON vectors: steps with times, and the answers that every language must
// give.
//
// Endpoints appear by name, requests by number, and an error is its message. Fields are spelt as in
// the core, and durations are seconds, so values are converted in both directions.
import assert from 'node:assert/strict';
import { Scheduler, SlotwiseError } from 'slotwise';
import { pdDecide } from 'slotwise/policy';

const DURATIONS = new Set([
  'report_lifetime',
  'backoff',
  'backoff_limit',
  'adapter_load_time',
  'load_time',
  'shed_above',
  'warm_window',
  'confirm_within',
  'look_ahead',
  'max_queued_prefill',
  'ttft',
  'tpot',
  'start_up',
  'ttl',
  'no_endpoint_ttl',
  'metrics_staleness_threshold',
  'idle_time',
  'idle_time_min',
  'idle_time_max',
]);

/** Limits that may be missing, for which null stands there. */
const UNLIMITED = new Set(['max_requests', 'max_bytes']);

/** A scheduler under test, driven by steps. */
export class Runner {
  #config;
  #scheduler;
  // Ids of endpoints that have left are still asked about.
  #endpoints = new Map();
  // In the order in which they came.
  #added = [];
  // The latest one.
  #snapshot = new Uint8Array(0);
  // Submitted requests with a service level.
  #withLevel = new Set();

  constructor(vector) {
    // Fields absent from a vector have the core's defaults, and so does its seed.
    this.#config = { seed: 0, ...fromCore(vector.config ?? {}) };
    this.#scheduler = new Scheduler(this.#config);
  }

  /** The answer to a step. */
  answer({ at_us, expect, ...input }) {
    const [[verb, argument], ...more] = Object.entries(input);
    assert.equal(more.length, 0, 'one verb a step');
    try {
      // Numbers that JSON cannot tell apart are equal: -0 and 0.
      const answer = this.#do(verb, argument, at_us / 1_000);
      return JSON.parse(JSON.stringify(answer === undefined ? 'ok' : answer));
    } catch (error) {
      if (error instanceof SlotwiseError) {
        return { error: error.message };
      }
      throw error;
    }
  }

  #do(verb, argument, now) {
    const scheduler = this.#scheduler;
    switch (verb) {
      case 'add_endpoint': {
        const endpoint = scheduler.addEndpoint(fromCore(argument), now);
        this.#endpoints.set(argument.name, endpoint);
        this.#added.push(endpoint);
        return { endpoint };
      }
      case 'update_endpoint':
        return scheduler.updateEndpoint(this.#id(argument.name), fromCore(argument), now);
      case 'remove_endpoint':
        return { in_flight: scheduler.removeEndpoint(this.#id(argument), now).inFlight };
      case 'drain_endpoint':
        return scheduler.drainEndpoint(this.#id(argument), now);
      case 'resume_endpoint':
        return scheduler.resumeEndpoint(this.#id(argument), now);
      case 'reconfigure':
        return scheduler.reconfigure(fromCore(argument), now);
      case 'handle_load': {
        const { endpoint, sampled_at, ...load } = argument;
        const sampledAt = sampled_at === undefined ? undefined : sampled_at / 1_000;
        return scheduler.handleLoad(this.#id(endpoint), { ...fromCore(load), sampledAt }, now);
      }
      case 'handle_loads': {
        const reports = argument.map(({ endpoint, sampled_at, ...load }) => ({
          ...fromCore(load),
          endpointId: this.#id(endpoint),
          sampledAt: sampled_at === undefined ? undefined : sampled_at / 1_000,
        }));
        return scheduler.handleLoads(reports, now);
      }
      case 'handle_probe': {
        const [endpoint, passed] = argument;
        return scheduler.handleProbe(this.#id(endpoint), passed, now);
      }
      case 'handle_adapters': {
        const { endpoint, ...adapters } = argument;
        return scheduler.handleAdapters(this.#id(endpoint), adapters, now);
      }
      case 'describe_adapter': {
        const { name, ...adapter } = fromCore(argument);
        return scheduler.describeAdapter(name, adapter);
      }
      case 'handle_kv_event':
        return scheduler.handleKvEvent(this.#id(argument.endpoint), event(argument.event), now);
      case 'pick':
        return this.#pick(argument, now);
      case 'pick_many': {
        const requests = argument.map((asked) => this.#request(asked, now));
        const answers = scheduler.pickMany(requests, now);
        return answers.map((answer, at) =>
          answer.kind === 'rejected' ? turnedAway(answer) : this.#picked(answer, hasLevel(argument[at])));
      }
      case 'submit': {
        const { prompt, options } = this.#request(argument, now);
        const answer = scheduler.submit(prompt, options);
        if (typeof answer !== 'number') {
          return turnedAway(answer);
        }
        if (hasLevel(argument)) {
          this.#withLevel.add(answer);
        }
        return { request: answer };
      }
      case 'poll':
        return [...this.#decisions(now)];
      case 'next_timeout': {
        const at = scheduler.nextTimeout();
        return at === undefined ? null : Math.round(at * 1_000);
      }
      case 'explain': {
        const { prompt, options } = this.#request(argument, now);
        const { candidates, runnerUp } = scheduler.explain(prompt, options);
        const byProfile = this.#config.profile !== undefined;
        return {
          candidates: candidates.map((candidate) => ({
            endpoint: candidate.name,
            excluded: candidate.excluded,
            cached_tokens: candidate.cachedTokens,
            terms: toCore(candidate.terms),
            cost_s: candidate.cost,
            ...(hasLevel(argument) && {
              predicted_ttft_s: candidate.predictedTtft,
              predicted_tpot_s: candidate.predictedTpot,
              ttft_headroom_s: candidate.ttftHeadroom,
              tpot_headroom_s: candidate.tpotHeadroom,
            }),
            ...(byProfile && {
              scores: Object.fromEntries(candidate.scores.map(({ scorer, raw }) => [scorer, raw])),
              score: candidate.score,
              filtered_by: candidate.filteredBy,
            }),
          })),
          ...(byProfile && runnerUp !== null && {
            runner_up: {
              endpoint: scheduler.endpoint(runnerUp.endpointId).name,
              behind: runnerUp.behind,
              lost_most_in: runnerUp.lostMostIn,
            },
          }),
        };
      }
      case 'handle_first_token':
        return scheduler.handleFirstToken(argument, now);
      case 'handle_tokens':
        return scheduler.handleTokens(...argument, now);
      case 'handle_answer':
        return scheduler.handleAnswer(...argument, now);
      case 'complete': {
        const [id, usage] = argument;
        return scheduler.complete(id, fromCore(usage), now);
      }
      case 'fail':
        return scheduler.fail(...argument, now);
      case 'complete_leg': {
        const [id, stage, usage] = argument;
        return scheduler.completeLeg(id, stage, fromCore(usage), now);
      }
      case 'fail_leg':
        return scheduler.failLeg(...argument, now);
      case 'redirect_leg': {
        const to = scheduler.redirectLeg(...argument, now);
        return { endpoint: to === null ? null : scheduler.endpoint(to).name };
      }
      case 'pd_decide': {
        const [decider, facts] = argument;
        return pdDecide(decider, fromCore(facts));
      }
      case 'cancel':
        return scheduler.cancel(argument, now);
      case 'redirect': {
        const [id, endpoint, failure] = argument;
        return scheduler.redirect(id, this.#id(endpoint), now, failure);
      }
      case 'stats':
        // Of all the figures, those that the step asks for.
        return select(toCore(scheduler.stats()), argument);
      case 'snapshot':
        this.#snapshot = scheduler.snapshot();
        return { bytes: this.#snapshot.length, fnv1a: fnv1a(this.#snapshot) };
      case 'restart':
        return { endpoints: this.#restart(argument, now) };
      case 'restore': {
        const flipped = (byte, at) => (at === argument.flip ? byte ^ 0xff : byte);
        return { endpoints: scheduler.restore(this.#snapshot.map(flipped), now) };
      }
      default:
        throw new Error(`no verb is called ${verb}`);
    }
  }

  #pick(argument, now) {
    const { prompt, options } = this.#request(argument, now);
    const answer = this.#scheduler.pick(prompt, options);
    return answer.kind === 'rejected' ? turnedAway(answer) : this.#picked(answer, hasLevel(argument));
  }

  /** All decisions until there is none. */
  *#decisions(now) {
    const scheduler = this.#scheduler;
    for (let decision = scheduler.pollDecision(now); decision !== undefined; decision = scheduler.pollDecision(now)) {
      const queued_s = seconds(decision.queueTimeMs);
      if (decision.kind === 'dispatch') {
        const picked = this.#picked(decision, this.#withLevel.has(decision.requestId));
        yield { dispatch: { ...picked, queued_s } };
      } else {
        const { requestId: request, reason, retryAfterMs } = decision;
        yield { evict: { request, reason, retry_after_s: seconds(retryAfterMs), queued_s } };
      }
    }
  }

  #picked(answer, withLatency) {
    const name = (id) => this.#scheduler.endpoint(id).name;
    assert.equal(answer.endpointName, name(answer.endpointId));
    const leg = ({ endpointName, cachedTokens, cost }) => ({
      endpoint: endpointName,
      cached_tokens: cachedTokens,
      cost_s: cost,
    });
    return {
      ...(answer.prefill === null ? {} : { prefill: leg(answer.prefill) }),
      ...(withLatency && {
        predicted_ttft_s: answer.predictedTtft,
        predicted_tpot_s: answer.predictedTpot,
      }),
      ...(answer.encode === null ? {} : { encode: leg(answer.encode) }),
      request: answer.requestId,
      endpoint: answer.endpointName,
      alternatives: answer.alternatives.map(name),
      prompt_tokens: answer.promptTokens,
      cached_tokens: answer.cachedTokens,
      best_cached_tokens: answer.bestCachedTokens,
      cost_s: answer.cost,
    };
  }

  /**
   * Continues with a new scheduler that has only the endpoints, in the same order. Returns their
   * ids by name.
   */
  #restart({ seed = this.#config.seed, endpoints = [] }, now) {
    const before = this.#scheduler;
    const there = this.#added.map((id) => before.endpoint(id)).filter((known) => known !== null);
    this.#scheduler = new Scheduler({ ...this.#config, seed });
    this.#added = there.map((known) => {
      const anew = endpoints.find(({ name }) => name === known.name);
      return this.#scheduler.addEndpoint(anew === undefined ? known : fromCore(anew), now);
    });
    there.forEach(({ name }, at) => this.#endpoints.set(name, this.#added[at]));
    return Object.fromEntries(there.map(({ name }, at) => [name, this.#added[at]]));
  }

  #request({ exclude, subset, ...argument }, now) {
    const asked = request(argument, now);
    if (subset !== undefined) {
      asked.options.subset = Array.isArray(subset) ? subset.map((name) => this.#id(name)) : subset;
    }
    if (exclude !== undefined) {
      asked.options.exclude = exclude.map((name) => this.#id(name));
    }
    return asked;
  }

  #id(name) {
    assert.ok(this.#endpoints.has(name), `no endpoint is called ${name}`);
    return this.#endpoints.get(name);
  }
}

function turnedAway({ reason, httpStatus, retryAfterMs }) {
  return { rejected: reason, http_status: httpStatus, retry_after_s: seconds(retryAfterMs) };
}

/** Whether a request has a service level: the answer then includes the predicted latency. */
function hasLevel({ slo_ttft_us, slo_tpot_us }) {
  return slo_ttft_us !== undefined || slo_tpot_us !== undefined;
}

function request({ prompt = { text: [] }, deadline_us, slo_ttft_us, slo_tpot_us, ttl_us, ...rest }, now) {
  const options = { ...fromCore(rest), now };
  if (ttl_us !== undefined) {
    options.ttlMs = ttl_us / 1_000;
  }
  if (slo_ttft_us !== undefined) {
    options.sloTtftMs = slo_ttft_us / 1_000;
  }
  if (slo_tpot_us !== undefined) {
    options.sloTpotMs = slo_tpot_us / 1_000;
  }
  if (deadline_us !== undefined) {
    options.deadline = deadline_us / 1_000;
  }
  const [[kind, said]] = Object.entries(prompt);
  switch (kind) {
    case 'text':
      return { prompt: said.map(([text, times]) => text.repeat(times)).join(''), options };
    case 'tokens':
      return { prompt: ids(said), options };
    case 'blocks': {
      const { hashes, block_size, tokens } = said;
      return { prompt: { blocks: hashes.map(exact), blockSize: block_size, tokens }, options };
    }
    default:
      throw new Error(`no prompt is called ${kind}`);
  }
}

function event(said) {
  if (said === 'cleared') {
    return { kind: 'AllBlocksCleared' };
  }
  const [[word, inner]] = Object.entries(said);
  const kind = word === 'removed' ? 'BlockRemoved' : 'BlockStored';
  if (kind === 'BlockRemoved') {
    return { kind, blocks: inner.blocks.map(exact), tier: inner.tier };
  }
  const { blocks, parent, tokens, lookahead, block_size, tier, model, adapter, cache_salt } = inner;
  return {
    kind,
    blocks: BigUint64Array.from(blocks, exact),
    parent: parent === undefined ? undefined : exact(parent),
    tokens: tokens === undefined ? undefined : ids(tokens),
    lookahead: lookahead === undefined ? undefined : ids(lookahead),
    blockSize: block_size,
    tier,
    model,
    adapter,
    cacheSalt: cache_salt,
  };
}

/** Token ids of ranges, one after the other. */
function ids(ranges) {
  return Uint32Array.from(
    ranges.flatMap(([from, to]) => Array.from({ length: Math.max(0, to - from) }, (_, at) => from + at)),
  );
}

/** A hash that JSON has not rounded. */
function exact(number) {
  assert.ok(Number.isSafeInteger(number), `${number} is too large for a number: read it as a bigint`);
  return BigInt(number);
}

/** `backoff: 1.5` as `backoffMs: 1500`, at every level. */
function fromCore(value) {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    return value;
  }
  const labels = (name, inner) => (name === 'labels' ? inner : fromCore(inner));
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) =>
      DURATIONS.has(name)
        ? [`${camel(name)}Ms`, inner * 1_000]
        : [camel(name), inner === null && UNLIMITED.has(name) ? Infinity : labels(name, inner)],
    ),
  );
}

/** `queuedPrefillMs: 1500` as `queued_prefill: 1.5`, at every level. */
function toCore(value) {
  if (Array.isArray(value)) {
    return value.map(toCore);
  }
  if (value === null || typeof value !== 'object') {
    return value;
  }
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) =>
      name.endsWith('Ms') ? [snake(name.slice(0, -2)), seconds(inner)] : [snake(name), toCore(inner)],
    ),
  );
}

/** Milliseconds as seconds, rounded as the core rounds them: whole seconds and billionths apart. */
function seconds(millis) {
  if (millis === null) {
    return null;
  }
  const nanos = Math.round(millis * 1e6);
  return Math.floor(nanos / 1e9) + (nanos % 1e9) / 1e9;
}

function camel(name) {
  return name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
}

function snake(name) {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** A digest that is a line in every language. */
function fnv1a(bytes) {
  const digest = bytes.reduce((sum, byte) => BigInt.asUintN(64, (sum ^ BigInt(byte)) * 0x0100_0000_01b3n), 0xcbf2_9ce4_8422_2325n);
  return digest.toString(16).padStart(16, '0');
}

/** The fields of `value` that are named in `wanted`, at every level of it. */
function select(value, wanted) {
  if (Array.isArray(value) && typeof wanted === 'object') {
    return value.map((item) => select(item, wanted));
  }
  if (value !== null && typeof value === 'object' && wanted !== null && typeof wanted === 'object') {
    return Object.fromEntries(
      Object.entries(wanted).map(([name, inner]) => {
        assert.ok(name in value || ['rejected', 'evicted'].includes(name), `no figure is called ${name}`);
        return [name, select(value[name], inner)];
      }),
    );
  }
  return value;
}
