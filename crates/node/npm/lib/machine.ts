/**
 * Machines over JSON: state with named calls, the same in every language. Modules such as
 * `slotwise/routing` give them typed faces.
 */
import { NativeMachine } from '../native/index.js';
import { guarded, typeError } from './errors.js';

/** A value that JSON can hold, and what stands for numbers beyond it. */
export type Data =
  | string | number | bigint | boolean | null | undefined
  | readonly Data[]
  | { readonly [name: string]: Data };

/** A machine by its kind, with the arguments of its constructor. */
export class Machine {
  /** @internal */
  readonly native: NativeMachine;

  constructor(kind: string, values: { readonly [name: string]: Data }) {
    const text = stringify(values);
    this.native = guarded(() => new NativeMachine(kind, text));
  }

  /** Calls the machine. Its result has the type that the call documents. */
  call<T>(name: string, values: { readonly [name: string]: Data } = {}): T {
    const text = stringify(values);
    return JSON.parse(guarded(() => this.native.call(name, text))) as T;
  }
}

/** JSON has no bigints, no NaN and no infinities: they become text. */
export function stringify(values: { readonly [name: string]: Data }): string {
  return JSON.stringify(values, plain);
}

function plain(_: string, value: unknown): unknown {
  switch (typeof value) {
    case 'bigint':
      return value.toString();
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'function':
    case 'symbol':
      throw typeError(`a ${typeof value} cannot be used here`);
    default:
      return value;
  }
}
