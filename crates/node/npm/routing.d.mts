export * from './dist/routing.js';
