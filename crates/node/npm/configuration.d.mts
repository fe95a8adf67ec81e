export * from './dist/configuration.js';
