export * from './dist/error_responses.js';
