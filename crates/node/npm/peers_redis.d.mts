export * from './dist/peers/redis.js';
