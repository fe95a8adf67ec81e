// The same subpath for `import`.
export { webHandler } from './dist/web.js';
