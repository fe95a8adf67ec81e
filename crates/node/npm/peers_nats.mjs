// The same subpath for `import`.
export { NatsTransport } from './dist/peers/nats.js';
