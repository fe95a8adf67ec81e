export * from './dist/gates.js';
