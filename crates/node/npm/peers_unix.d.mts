export * from './dist/peers/unix.js';
