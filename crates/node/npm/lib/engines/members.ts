/** The endpoints of a scheduler, listed again only when they have changed. */
import type { Endpoints } from '../endpoints.js';

/** Names of endpoints, by their ids. */
type Names = Map<number, string>;

/**
 * Which endpoints join and leave a pool, between one look and the next.
 *
 * A look at an unchanged pool costs **O(1)**, and **O(endpoints)** after a change.
 */
export class Members {
  readonly #scheduler: Endpoints;
  #membership: number | undefined;
  /** The names of the endpoints by their ids, at the last look. */
  names: ReadonlyMap<number, string> = new Map();

  constructor(scheduler: Endpoints) {
    this.#scheduler = scheduler;
  }

  /**
   * The names of those that joined, and of those that left, since the last look. An endpoint with
   * another name has left and joined: its URL is another one.
   */
  look(): { joined: Names; left: Names } {
    const { membership } = this.#scheduler;
    if (membership === this.#membership) {
      return { joined: new Map(), left: new Map() };
    }
    const before = this.names;
    this.names = this.#scheduler.endpointNames();
    this.#membership = membership;
    return { joined: missing(this.names, before), left: missing(before, this.names) };
  }
}

/** The names that the others lack. */
function missing(names: ReadonlyMap<number, string>, others: ReadonlyMap<number, string>): Names {
  return new Map([...names].filter(([id, name]) => others.get(id) !== name));
}
