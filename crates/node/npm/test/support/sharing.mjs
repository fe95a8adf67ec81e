// A host whose processes or threads share a pool: by `node:cluster`, or as worker threads.
import cluster from 'node:cluster';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { Scheduler } from 'slotwise';
import { connect, seedOf, share } from 'slotwise/peers';
import { keyOf } from 'slotwise/peers/unix';

/** Shares a pool until `leave` resolves, once it has found the other one. */
async function work(directory, report, leave) {
  const key = keyOf(directory);
  const scheduler = new Scheduler({ seed: seedOf(key) });
  scheduler.addEndpoint('http://10.0.0.1:8000');
  const sharing = await share(scheduler, connect(`unix:${directory}`, { channel: 'llama' }), { key });
  while (sharing.alive.length === 0) await sleep(10);
  report(sharing.alive.length);
  await leave;
  await sharing.close();
}

if (!isMainThread) {
  const leave = once(parentPort, 'message');
  await work(workerData, (count) => parentPort.postMessage(count), leave);
} else if (cluster.isPrimary) {
  const workers = [cluster.fork(), cluster.fork()];
  const heard = await Promise.all(workers.map((worker) => once(worker, 'message')));
  heard.forEach(([count]) => process.stdout.write(`shares with ${count}\n`));
  workers.forEach((worker) => worker.send('leave'));
} else {
  await work(process.argv[2], (count) => process.send(count), once(process, 'message'));
  process.disconnect();
}
