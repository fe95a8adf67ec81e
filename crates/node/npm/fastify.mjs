// The same subpath for `import`.
export { slotwise } from './dist/fastify.js';
export { slotwise as default } from './dist/fastify.js';
