export * from './dist/fastify.js';
export { slotwise as default } from './dist/fastify.js';
