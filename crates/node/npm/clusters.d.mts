export * from './dist/clusters.js';
