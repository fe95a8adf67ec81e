export * from './dist/gateway/index.js';
