// The same subpath for `import`.
export { ObservedRequest, Telemetry, operationOf } from './dist/telemetry.js';
