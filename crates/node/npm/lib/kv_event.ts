/** Changes of an engine's KV cache, and where they come from. */
import type { NativeScheduler } from '../native/index.js';
import { guarded, typeError } from './errors.js';
import { readHashes, readTokenIds, type TokenIds } from './prompt.js';
import { checkFields, describe, number, optionalString, type FieldsOf } from './validate.js';

/** Where an engine keeps a block: accelerator memory, host memory, or disk and network storage. */
export type Tier = 'gpu' | 'cpu' | 'disk';

/** One change of an engine's KV cache. Blocks are named by the engine's unsigned 64-bit hashes. */
export type KvEvent =
  | {
      /** Blocks were computed, each the child of the one before it. */
      kind: 'BlockStored';
      /** The engine's hashes of the blocks, in order. */
      blocks: BigUint64Array | readonly bigint[];
      /** The engine's hash of the block before the first; none at the beginning of a prompt. */
      parent?: bigint | null | undefined;
      /** Token ids of all the blocks. */
      tokens?: TokenIds | null | undefined;
      /** Token ids after the last block that its hash also covers. Default: none. */
      lookahead?: TokenIds | null | undefined;
      /** Tokens in a block. */
      blockSize: number;
      /** Where the blocks are stored. Default: `'gpu'`. */
      tier?: Tier | null | undefined;
      /** The base model. Default: the endpoint's, under every name. */
      model?: string | null | undefined;
      /** The LoRA adapter. */
      adapter?: string | null | undefined;
      /** The cache salt. */
      cacheSalt?: string | null | undefined;
    }
  | {
      /** Blocks were removed. Unknown hashes are ignored. */
      kind: 'BlockRemoved';
      /** The engine's hashes of the blocks. */
      blocks: BigUint64Array | readonly bigint[];
      /** The tier they left; other tiers may still hold them. Default: `'gpu'`. */
      tier?: Tier | null | undefined;
    }
  | {
      /** All blocks were removed. */
      kind: 'AllBlocksCleared';
    };

/** Identifies one publisher of an endpoint. */
export interface PublisherOptions {
  /** Its data-parallel rank. Default: 0. */
  rank?: number | null | undefined;
  /** The time, in milliseconds. Default: the scheduler's clock. */
  now?: number | undefined;
}

/** The source of a message with KV events. */
export interface KvFramesOptions extends PublisherOptions {
  /** Whether it came from the replay socket. Default: false. */
  replay?: boolean | null | undefined;
}

/** What TensorRT-LLM's events do not contain. */
export interface TrtllmOptions extends PublisherOptions {
  /** Tokens in a block. Default: the endpoint's. */
  blockSize?: number | null | undefined;
}

const EVENT = {
  kind: true,
  blocks: true,
  parent: true,
  tokens: true,
  lookahead: true,
  blockSize: true,
  tier: true,
  model: true,
  adapter: true,
  cacheSalt: true,
} satisfies FieldsOf<Extract<KvEvent, { kind: 'BlockStored' }>>;

const PUBLISHER = { rank: true, now: true } satisfies FieldsOf<PublisherOptions>;

const KV_FRAMES = { ...PUBLISHER, replay: true } satisfies FieldsOf<KvFramesOptions>;

const TRTLLM = { ...PUBLISHER, blockSize: true } satisfies FieldsOf<TrtllmOptions>;

/** Validates an event and passes it to the native scheduler. */
export function handleKvEvent(
  native: NativeScheduler,
  now: number,
  endpointId: number,
  event: KvEvent,
): void {
  checkFields('event', EVENT, event);
  switch (event.kind) {
    case 'BlockStored': {
      const { parent, tokens, lookahead } = event;
      if (parent !== undefined && parent !== null && typeof parent !== 'bigint') {
        throw typeError(`event.parent must be a bigint, got ${describe(parent)}`);
      }
      const size = number('event.blockSize', event.blockSize);
      const tier = optionalString('event.tier', event.tier);
      const model = optionalString('event.model', event.model);
      const adapter = optionalString('event.adapter', event.adapter);
      const salt = optionalString('event.cacheSalt', event.cacheSalt);
      const hashes = readHashes('event.blocks', event.blocks);
      const ids = optionalTokenIds('event.tokens', tokens);
      const ahead = optionalTokenIds('event.lookahead', lookahead);
      return guarded(() =>
        native.handleStored(
          now, endpointId, hashes, size, parent, ids, ahead, tier, model, adapter, salt,
        ));
    }
    case 'BlockRemoved': {
      const hashes = readHashes('event.blocks', event.blocks);
      const tier = optionalString('event.tier', event.tier);
      return guarded(() => native.handleRemoved(now, endpointId, hashes, tier));
    }
    case 'AllBlocksCleared':
      return guarded(() => native.handleCleared(now, endpointId));
    default: {
      const kind = describe((event as KvEvent).kind);
      throw typeError(`event.kind must be 'BlockStored', 'BlockRemoved' or 'AllBlocksCleared', got ${kind}`);
    }
  }
}

function optionalTokenIds(what: string, ids: unknown): Uint32Array | null {
  return ids === undefined || ids === null ? null : readTokenIds(what, ids);
}

/** Rejects unknown options. */
export function checkPublisher(options: PublisherOptions): void {
  checkFields('options', PUBLISHER, options);
}

/** Rejects unknown options. */
export function checkKvFrames(options: KvFramesOptions): void {
  checkFields('options', KV_FRAMES, options);
}

/** Rejects unknown options. */
export function checkTrtllm(options: TrtllmOptions): void {
  checkFields('options', TRTLLM, options);
}
