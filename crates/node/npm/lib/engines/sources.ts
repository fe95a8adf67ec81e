/** Where engines are listed: a file, or DNS. For `discover`. */
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';

/** Resolves to the URLs of all engines, or rejects while they are unknown. */
export type Source = () => Promise<Iterable<string>>;

/** Resolves SRV records: `node:dns/promises`, or a `Resolver` of it. */
export interface SrvResolver {
  resolveSrv(name: string): Promise<readonly { readonly name: string; readonly port: number }[]>;
}

/** What an address belongs to. */
export interface SchemeOptions {
  /** Default: `http`. */
  scheme?: 'http' | 'https' | undefined;
}

/** Resolves the addresses of a host: `lookup` of `node:dns/promises`. */
export type Lookup = (
  host: string,
  options: { all: true },
) => Promise<readonly { readonly address: string }[]>;

/** How a host is resolved. */
export interface DnsOptions extends SchemeOptions {
  /** Default: the resolver of the operating system. */
  lookup?: Lookup | undefined;
}

/** The URLs in a file, one a line. Empty lines and `#` comments are skipped. */
export function ofFile(path: string | URL): Source {
  return async () => {
    const text = await readFile(path, 'utf8');
    const lines = text.split(/\r?\n/).map((line) => (line.split('#')[0] ?? '').trim());
    return lines.filter((line) => line !== '');
  };
}

/**
 * One engine on each address of a host, by the resolver of the operating system. The name of a
 * headless Kubernetes service has the addresses of its ready pods.
 */
export function ofDns(host: string, port: number, options: DnsOptions = {}): Source {
  const { scheme = 'http' } = options;
  const resolve: Lookup = options.lookup ?? lookup;
  return async () => {
    const found = await resolve(host, { all: true });
    return found.map(({ address }) => urlOf(scheme, address, port));
  };
}

/** One engine for each SRV record, such as `_http._tcp.vllm.default.svc.cluster.local`. */
export function ofSrv(
  name: string,
  resolver: SrvResolver,
  { scheme = 'http' }: SchemeOptions = {},
): Source {
  return async () => {
    const records = await resolver.resolveSrv(name);
    return records.map(({ name: host, port }) => urlOf(scheme, host.replace(/\.$/, ''), port));
  };
}

/** Always these URLs. */
export function ofList(urls: Iterable<string>): Source {
  const listed = [...urls];
  return async () => listed;
}

function urlOf(scheme: string, host: string, port: number): string {
  return host.includes(':') ? `${scheme}://[${host}]:${port}` : `${scheme}://${host}:${port}`;
}
