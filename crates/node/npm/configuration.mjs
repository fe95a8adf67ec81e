// The same subpath for `import`.
export { Configuration } from './dist/configuration.js';
