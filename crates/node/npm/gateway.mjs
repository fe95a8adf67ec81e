// The same subpath for `import`.
export { Block, Gateway, Reloading, demoEngines } from './dist/gateway/index.js';
