// The same subpath for `import`.
export { connect, PeerError, PeerLink, seedOf, share, Sharing } from './dist/peers.js';
