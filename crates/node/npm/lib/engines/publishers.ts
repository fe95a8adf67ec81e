/** Where engines publish their KV events. */

/** The sockets of one engine, or of one of its data-parallel ranks. */
export interface Publisher {
  /** The address of its events: `tcp://10.0.0.1:5557`. */
  readonly events: string;
  /** The address of its replays. Without one, missed batches are lost. */
  readonly replay?: string | null | undefined;
  /** Its data-parallel rank. Default: 0. */
  readonly rank?: number | undefined;
}

/** The publishers of an endpoint, by its name. An endpoint without any has no events. */
export type Publishers =
  | ((name: string) => readonly Publisher[])
  | ReadonlyMap<string, readonly Publisher[]>
  | Readonly<Record<string, readonly Publisher[]>>;

/** Of several ranks on one host. */
export interface PublishersOnOptions {
  /** Data-parallel ranks of each endpoint. Default: 1. */
  ranks?: number | undefined;
}

/**
 * Publishers on the host of each endpoint, whose name is its URL. Rank `n` publishes on `port + n`
 * and replays on `replayPort + n`, as vLLM's ranks do. A `replayPort` of null is none.
 */
export function publishersOn(
  port = 5557,
  replayPort: number | null = 5558,
  { ranks = 1 }: PublishersOnOptions = {},
): (name: string) => Publisher[] {
  return (name) => {
    if (!URL.canParse(name)) {
      return [];
    }
    const { hostname } = new URL(name);
    const at = `tcp://${hostname}`;
    return Array.from({ length: hostname === '' ? 0 : ranks }, (_, rank) => ({
      events: `${at}:${port + rank}`,
      replay: replayPort === null ? null : `${at}:${replayPort + rank}`,
      rank,
    }));
  };
}

/** The publishers of an endpoint. */
export function publishersOf(publishers: Publishers, name: string): readonly Publisher[] {
  if (typeof publishers === 'function') {
    return publishers(name);
  }
  if (publishers instanceof Map) {
    return (publishers as ReadonlyMap<string, readonly Publisher[]>).get(name) ?? [];
  }
  const listed = publishers as Readonly<Record<string, readonly Publisher[]>>;
  return (Object.hasOwn(listed, name) ? listed[name] : undefined) ?? [];
}
