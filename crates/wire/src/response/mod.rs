//! What engines answer: streams and bodies, fed in chunks of any size.
