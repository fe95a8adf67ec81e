export * from './dist/health_checks.js';
