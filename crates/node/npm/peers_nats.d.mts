export * from './dist/peers/nats.js';
