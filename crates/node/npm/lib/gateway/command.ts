#!/usr/bin/env node
/** The command `slotwise-gateway`: runs a gateway until SIGTERM or SIGINT. */
import { configurationOf, parse, usage, UsageError, type Options } from './arguments.js';
import { demoEngines, firstRequest, type DemoEngines } from './demo.js';
import { Gateway } from './gateway.js';
import { Reloading } from './reloading.js';
import { isWorker, reportListening, supervise } from './workers.js';

/** Runs the command, and resolves to its exit code. */
async function main(words: readonly string[]): Promise<number> {
  const options = await parse(words);
  if (options.help) {
    process.stdout.write(usage());
    return 0;
  }
  if (options.workers > 1 && !isWorker()) {
    return supervise(options, words);
  }
  const demo = options.demo ? await demoEngines() : undefined;
  try {
    await run(demo === undefined ? options : { ...options, engines: demo.urls.join(',') }, demo);
  } finally {
    await demo?.close();
  }
  return 0;
}

async function run(options: Options, demo: DemoEngines | undefined): Promise<void> {
  const gateway = new Gateway(configurationOf(options), options.settings);
  // A signal may come as soon as the gateway reports that it listens.
  const stopped = new Promise<void>((resolve) => {
    process.on('SIGTERM', () => resolve());
    process.on('SIGINT', () => resolve());
  });
  const reloading = options.config === undefined ? undefined : new Reloading(gateway, options.config);
  if (reloading !== undefined) {
    process.on('SIGHUP', () => reloading.reload());
  }
  await gateway.start();
  const lines = [`slotwise-gateway listens on ${gateway.url}`];
  if (gateway.adminUrl !== null) {
    lines.push(`admin page: ${gateway.adminUrl}`);
  }
  if (demo !== undefined) {
    lines.push(firstRequest(gateway.url ?? ''));
  }
  if (isWorker()) {
    reportListening({ url: gateway.url ?? '', adminUrl: gateway.adminUrl });
  } else {
    process.stdout.write(`${lines.join('\n')}\n`);
  }
  if (options.reload) {
    reloading?.watch();
  }
  await stopped;
  reloading?.stop();
  await gateway.stop();
  if (isWorker()) {
    // The channel to the command keeps the process, which has ended its work.
    process.disconnect();
  }
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    if (error instanceof UsageError) {
      process.stderr.write(`usage: slotwise-gateway [options]; --help lists them\nslotwise-gateway: error: ${error.message}\n`);
      process.exit(2);
    }
    // Messages for people, without a trace: each says what is wrong and where.
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  },
);
