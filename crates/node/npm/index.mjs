// The same package for `import`.
export {
  ConfigError,
  EndpointError,
  IdleTimeoutError,
  KvEventError,
  NotBegunError,
  Lease,
  LegError,
  RedirectError,
  RejectedError,
  CostFunctionError,
  Scheduler,
  SlotwiseError,
  SnapshotError,
  UnknownEndpointError,
  UnknownRequestError,
  WireError,
} from './dist/index.js';
