// The same subpath for `import`.
export { routedFetch } from './dist/fetch.js';
