// A gateway in a thread of its own, until its parent sends a message.
import { parentPort, workerData } from 'node:worker_threads';
import { Configuration } from 'slotwise/configuration';
import { Gateway } from 'slotwise/gateway';

const { endpoints, peers } = workerData;
const gateway = new Gateway(new Configuration(JSON.stringify({ endpoints })), { peers });
await gateway.start();
parentPort.once('message', async () => {
  await gateway.stop();
  parentPort.postMessage(gateway.pools.get('default').scheduler.stats().completed);
});
parentPort.postMessage(gateway.url);
