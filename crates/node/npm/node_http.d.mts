export * from './dist/node_http.js';
