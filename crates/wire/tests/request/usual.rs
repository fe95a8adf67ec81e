//! Bodies as clients write them, which are read by shorter ways: each says what its tree says, and
//! fails as the same body with more white space.

use std::ops::Range;

use proptest::prelude::*;
use serde_json::Value;
use slotwise_wire::request::{Api, RequestReader};

use super::Read;
use super::random::{any_body, call, message};
use super::twin::Twin;

/// Keys that clients write first.
const FIRST: [&str; 4] = ["type", "role", "tool_use_id", "name"];

/// Writes a body with `gap` after commas and colons. JSON that the reader copies has none.
fn write(value: &Value, gap: &str, to: &mut String) {
    match value {
        Value::Object(object) if object.get("type").is_none_or(|kind| kind != "novel") => {
            let mut fields: Vec<_> = object.iter().collect();
            fields.sort_by_key(|(key, _)| {
                FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len())
            });
            to.push('{');
            for (index, (key, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    to.push_str(&format!(",{gap}"));
                }
                to.push_str(&format!("{}:{gap}", Value::from(&**key)));
                let copied = ["parameters", "input_schema", "arguments", "chat_template_kwargs"];
                if copied.contains(&&**key) || key == "input" && value.is_object() {
                    to.push_str(&value.to_string());
                } else {
                    write(value, gap, to);
                }
            }
            to.push('}');
        }
        Value::Array(items) => {
            to.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    to.push_str(&format!(",{gap}"));
                }
                write(item, gap, to);
            }
            to.push(']');
        }
        other => to.push_str(&other.to_string()),
    }
}

/// A gap that clients write.
fn gap() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just(" ")]
}

/// A place of a text, and a byte for it; `None` cuts the text there.
fn damage() -> impl Strategy<Value = (prop::sample::Index, Option<u8>)> {
    let byte = prop_oneof![
        prop::sample::select(b"\"\\{}[],: ntu0-\n".to_vec()).prop_map(Some),
        Just(None),
    ];
    (any::<prop::sample::Index>(), byte)
}

/// Asserts that a damaged value after `head` is read as with white space at its start, after which
/// the general way is taken.
fn assert_fails_alike(
    api: Api,
    head: &str,
    mut damaged: Vec<u8>,
    (at, byte): (prop::sample::Index, Option<u8>),
) -> Result<(), TestCaseError> {
    let at = at.index(damaged.len());
    match byte {
        Some(byte) => damaged[at] = byte,
        None => damaged.truncate(at),
    }
    let read = |space: &str| {
        let body = [head.as_bytes(), space.as_bytes(), &damaged].concat();
        match RequestReader::new().read(api, &body) {
            Ok(view) => Ok(Read::of(view.prompt)),
            Err(error) => Err((error.offset - space.len(), error.problem)),
        }
    };
    prop_assert_eq!(read(""), read("\n"), "{}{}", head, String::from_utf8_lossy(&damaged));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_usual_body_says_what_its_tree_says((api, body) in any_body(), gap in gap()) {
        let mut written = String::new();
        write(&body, gap, &mut written);
        let mut reader = RequestReader::new();
        let view = reader.read(api, written.as_bytes());
        let view = view.map_err(|error| TestCaseError::fail(format!("{error}: {written}")))?;
        prop_assert_eq!(Twin::of_view(&view), Twin::of_tree(api, &body), "{}", written);
    }

    #[test]
    fn a_damaged_message_fails_as_by_the_general_way(
        message in message(),
        api in prop_oneof![Just(Api::ChatCompletions), Just(Api::Messages), Just(Api::Responses)],
        gap in gap(),
        damage in damage(),
    ) {
        let key = if api == Api::Responses { "input" } else { "messages" };
        let (head, mut written) = (format!(r#"{{"{key}":[{{"#), String::new());
        write(&message, gap, &mut written);
        assert_fails_alike(api, &head, format!("{}]}}", &written[1..]).into(), damage)?;
    }

    #[test]
    fn a_damaged_call_fails_as_by_the_general_way(
        call in call(),
        gap in gap(),
        damage in damage(),
    ) {
        let mut written = String::new();
        write(&call, gap, &mut written);
        let head = r#"{"messages":[{"role":"assistant","tool_calls":[{"#;
        let written = format!("{}]}}]}}", &written[1..]);
        assert_fails_alike(Api::ChatCompletions, head, written.into(), damage)?;
    }
}

#[test]
fn token_ids_are_read_in_each_form() {
    let written = |ids: Range<u32>, comma: &str| {
        let ids: Vec<_> = ids.map(|id| id.to_string()).collect();
        format!("[{}]", ids.join(comma))
    };
    for (written, ids) in [
        (
            "[1,22,333,4444,55555,666666,7777777,88888888,999999999,4294967295]",
            vec![1, 22, 333, 4_444, 55_555, 666_666, 7_777_777, 88_888_888, 999_999_999, u32::MAX],
        ),
        ("[0, 0,1, 0]", vec![0, 0, 1, 0]),
        (&written(1..200, ","), (1..200).collect()),
        (&written(99_900..100_100, ", "), (99_900..100_100).collect()),
        ("[9, 128000,  7 ,5\n,1e2, 3]", vec![9, 128_000, 7, 5, 100, 3]),
    ] {
        let body = format!(r#"{{"prompt":{written}}}"#);
        assert_eq!(super::prompt(Api::Completions, &body), Read::Tokens(ids), "{written}");
    }
    for (written, at) in
        [("[1,02,3]", 4), ("[1,-2,3]", 3), ("[1,2,]", 5), ("[1, 2, ]", 7), ("[1,2\u{e9},3]", 4)]
    {
        let body = format!(r#"{{"prompt":{written}    }}"#);
        let error = super::error(Api::Completions, &body);
        assert_eq!(error.offset, r#"{"prompt":"#.len() + at, "{written}: {error}");
    }
}
