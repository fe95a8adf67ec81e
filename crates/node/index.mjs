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
  SnapshotError,
  UnknownEndpointError,
  UnknownRequestError,
  WireError,
} from './dist/index.js';
