export * from './dist/telemetry.js';
