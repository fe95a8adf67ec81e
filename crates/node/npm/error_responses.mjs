// The same subpath for `import`.
export { errorResponse, failureResponse, shapeOf } from './dist/error_responses.js';
