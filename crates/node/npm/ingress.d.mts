export * from './dist/ingress.js';
