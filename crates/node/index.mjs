// The same package for `import`.
export {
  ConfigError,
  EndpointError,
  KvEventError,
  Lease,
  RedirectError,
  RejectedError,
  Scheduler,
  SlotwiseError,
  UnknownEndpointError,
  UnknownRequestError,
} from './dist/index.js';
