/** What `subscribe` uses of the package `zeromq`, which is an optional peer dependency. */

/** A socket that receives. */
export interface ReceivingSocket {
  connect(address: string): void;
  close(): void;
  receive(): Promise<Uint8Array[]>;
}

/** A socket that subscribes. */
export interface SubscriberSocket extends ReceivingSocket {
  subscribe(): void;
}

/** A socket that requests replays. */
export interface DealerSocket extends ReceivingSocket {
  send(frames: Uint8Array[]): Promise<void>;
}

/** The options of sockets. */
export interface SocketOptions {
  linger: number;
  tcpKeepalive: number;
  tcpKeepaliveIdle: number;
  receiveHighWaterMark: number;
}

/** The package `zeromq`, or another of its interface. */
export interface ZeroMq {
  Subscriber: new (options: SocketOptions) => SubscriberSocket;
  Dealer: new (options: SocketOptions) => DealerSocket;
}

/** Loads the package. Rejects with the way to install it. */
export async function loadZeroMq(): Promise<ZeroMq> {
  // A variable, so that the compiler does not look for the package's types.
  const name: string = 'zeromq';
  let loaded: unknown;
  try {
    loaded = await import(name);
  } catch (error) {
    throw new Error('KV events need zeromq: npm install zeromq', { cause: error });
  }
  const { default: whole, ...named } = loaded as ZeroMq & { default?: ZeroMq };
  return whole ?? named;
}
