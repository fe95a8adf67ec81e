//! Which headers pass, compared with a naive twin on random headers.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use slotwise_wire::headers::Forwarding;

/// Whether a header that no table names passes beside these `connection` headers.
fn twin(headers: &[(String, String)], replaced: &[String], name: &str) -> bool {
    let mut dropped: BTreeSet<String> = replaced.iter().map(|it| it.to_lowercase()).collect();
    for (name, value) in headers {
        if name.to_lowercase() == "connection" {
            dropped.extend(value.split(',').map(|it| it.trim().to_lowercase()));
        }
    }
    name.to_lowercase() != "connection" && !dropped.contains(&name.to_lowercase())
}

fn header() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof!["[Cc]onnection", "[Xx]-[ab]{1,2}"];
    (name, vec("[ \t]?[Xx]-[ab]{0,2}[ \t]?", 0..4).prop_map(|names| names.join(",")))
}

proptest! {
    #[test]
    fn named_and_replaced_headers_stop(
        headers in vec(header(), 0..8),
        replaced in vec("[Xx]-[ab]{1,2}", 0..3),
    ) {
        let pairs = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let of_request = Forwarding::of_request(pairs.clone());
        let of_response = Forwarding::of_response(pairs.clone());
        for forwarding in [of_request, of_response] {
            let forwarding = forwarding.replacing(replaced.iter().map(String::as_bytes));
            for (name, value) in &headers {
                let passes = forwarding.passes(name.as_bytes(), value.as_bytes());
                prop_assert_eq!(passes, twin(&headers, &replaced, name), "{}: {}", name, value);
            }
        }
    }

    #[test]
    fn any_bytes_are_decided(headers in vec((vec(any::<u8>(), 0..20), vec(any::<u8>(), 0..20)), 0..8)) {
        let pairs = headers.iter().map(|(name, value)| (&**name, &**value));
        let forwarding = Forwarding::of_request(pairs.clone());
        for (name, value) in pairs {
            let clean = name.is_ascii() && !value.contains(&b'\n') && !value.contains(&b'\r');
            prop_assert!(clean || !forwarding.passes(name, value));
        }
    }
}
