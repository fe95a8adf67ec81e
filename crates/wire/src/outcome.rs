//! What a client is told of an outcome: status, headers and an OpenAI-shaped body.
