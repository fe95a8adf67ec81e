#!/usr/bin/env node
/**
 * The command `slotwise`: checks, prints and compares files of a configuration.
 *
 * `slotwise config check FILE` exits with 0 if the file is valid, else with 1 and one line for each
 * problem. A wrong call exits with 2. The command of the Python package prints the same.
 */
import { readFileSync } from 'node:fs';
import { Configuration } from './configuration.js';

const USAGE = `\
usage: slotwise config check FILE    reports problems, and what has no effect
       slotwise config print FILE    prints the file without defaults
       slotwise config diff OLD NEW  prints what differs; exits with 1 if anything does
       slotwise config schema        prints the JSON Schema of the own file

A file - is the standard input.
`;

const STANDARD_INPUT = 0;

/** Runs the command, and returns its exit code. */
function main(words: readonly string[]): number {
  if (words.includes('-h') || words.includes('--help')) {
    return print(USAGE);
  }
  const [group, action, ...files] = words;
  const call = group === 'config' ? `${action} ${files.length}` : '';
  const [first = '', second = ''] = files;
  switch (call) {
    case 'check 1':
      return check(first);
    case 'print 1':
      return print(load(first).text());
    case 'diff 2':
      return diff(first, second);
    case 'schema 0':
      return print(`${Configuration.schema()}\n`);
    default:
      process.stderr.write(USAGE);
      return 2;
  }
}

function check(file: string): number {
  const configuration = load(file);
  const pools = configuration.pools.join(', ');
  return print(lines([...configuration.ignored, `${file}: valid, with the pools ${pools}`]));
}

function diff(older: string, newer: string): number {
  const changes = load(older).diff(load(newer));
  const value = (given: string | null) => given ?? 'default';
  print(lines(changes.map(({ path, before, after }) => `${path}: ${value(before)} -> ${value(after)}`)));
  return changes.length === 0 ? 0 : 1;
}

/** Reads a file. What is wrong with it is a `TypeError`. */
function load(name: string): Configuration {
  return new Configuration(decoded(name, bytes(name)), { name });
}

function bytes(name: string): Buffer {
  try {
    return readFileSync(name === '-' ? STANDARD_INPUT : name);
  } catch (error) {
    throw new TypeError(`${name}: cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

function decoded(name: string, read: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(read);
  } catch {
    throw new TypeError(`${name}: must be UTF-8`);
  }
}

function print(text: string): number {
  process.stdout.write(text);
  return 0;
}

const lines = (texts: readonly string[]): string => texts.map((text) => `${text}\n`).join('');

// The exit code is set, not `exit` called: a pipe still receives what was printed.
try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof TypeError)) {
    throw error;
  }
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
