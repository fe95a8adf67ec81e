//! The JSON vectors of a gateway: what bytes of engines and clients lead to, in every language.
//!
//! `crates/wire/tests/vectors.rs` describes their language. `BLESS=1 cargo test -p slotwise-gateway
//! --all-features --test vectors` writes the answers anew; reading the difference is the review.

#[path = "../../wire/tests/support/calls.rs"]
#[expect(dead_code, reason = "the calls of the wire's own vectors are not used here")]
mod calls;
#[path = "support/exchanges.rs"]
mod exchanges;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "../../wire/tests/support/vectors.rs"]
mod vectors;

use std::path::Path;

#[test]
fn every_call_has_the_expected_answer() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let count = vectors::run(&folder, || {
        let mut host = gateway::Host::default();
        move |call, args| host.answer(call, args)
    });
    assert!(count > 60, "only {count} steps were found");
}
