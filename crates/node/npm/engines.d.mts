export * from './dist/engines/index.js';
