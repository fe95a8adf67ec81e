//! What engines say about their KV caches: ZMQ frames, batches of events, and gaps between them.
