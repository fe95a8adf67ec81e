// The same subpath for `import`.
export { NoRouteError, Routing } from './dist/routing.js';
