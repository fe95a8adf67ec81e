// The same subpath for `import`.
export { UnixTransport, keyOf } from './dist/peers/unix.js';
