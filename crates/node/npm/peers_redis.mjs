// The same subpath for `import`.
export { RedisTransport } from './dist/peers/redis.js';
