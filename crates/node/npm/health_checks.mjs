// The same subpath for `import`.
export { HealthChecks } from './dist/health_checks.js';
