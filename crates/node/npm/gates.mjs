// The same subpath for `import`.
export { Gates, Grant, RefusedError, SafetyCheck } from './dist/gates.js';
