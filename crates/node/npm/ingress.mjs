// The same subpath for `import`.
export { Ingress } from './dist/ingress.js';
