// The same subpath for `import`.
export { nodeHandler } from './dist/node_http.js';
