//! The canonical text of conversations: one for each, and a later turn starts with the earlier one.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Value, json};
use slotwise::Rng;
use slotwise_wire::request::Api;

use super::random::{message, words, write};
use super::{shown, text};

fn apis() -> impl Strategy<Value = (Api, &'static str)> {
    prop_oneof![
        Just((Api::ChatCompletions, "messages")),
        Just((Api::Messages, "messages")),
        Just((Api::Embeddings, "messages")),
        Just((Api::Responses, "input")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_turn_begins_with_the_turn_before(
        (api, key) in apis(), messages in vec(message(), 1..8), at in any::<prop::sample::Index>(), seed in any::<u64>(),
    ) {
        let mut rng = Rng::new(seed);
        let mut turn = |messages: &[Value]| {
            let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"a": 1}}}]);
            let body = json!({"model": "m", key: messages, "tools": tools, "system": "s", "instructions": "s",
                "chat_template_kwargs": {"preserve_thinking": true}});
            text(api, &write(&body, &mut rng))
        };
        let (before, after) = (turn(&messages[..at.index(messages.len())]), turn(&messages));
        prop_assert!(after.starts_with(&before), "{} / {}", shown(&before), shown(&after));
    }

    /// The text can be parsed back, so different conversations have different texts.
    #[test]
    fn nothing_said_looks_like_a_message(
        (api, key) in apis(),
        said in vec((words(), vec(words(), 0..4)), 0..6),
        seed in any::<u64>(),
    ) {
        let messages = said.iter().map(|(role, parts)| {
            let parts = parts.iter().map(|text| json!({"type": "text", "text": text}));
            json!({"role": role, "content": parts.collect::<Vec<_>>()})
        });
        let body = json!({key: messages.collect::<Vec<_>>()});
        let text = text(api, &write(&body, &mut Rng::new(seed)));
        let mut found: Vec<(String, Vec<String>)> = vec![];
        for piece in text.split(|byte| *byte == 0xff).skip(1) {
            let string = std::str::from_utf8(&piece[1..]).expect("UTF-8").to_string();
            match piece[0] {
                b'M' => found.push((string, vec![])),
                b't' => found.last_mut().expect("a message").1.push(string),
                other => panic!("{other}"),
            }
        }
        let expected = said.into_iter().map(|(role, mut parts)| {
            let dropped = |text: &String| {
                text.is_empty()
                    || api == Api::Messages && role == "system" && text.starts_with("x-anthropic-billing-header")
            };
            parts.retain(|text| !dropped(text));
            (role, parts)
        });
        prop_assert_eq!(found, expected.collect::<Vec<_>>());
    }

    #[test]
    fn a_string_is_a_part((api, key) in apis(), said in words(), role in words()) {
        let of = |content: Value| text(api, &json!({key: [{"role": role, "content": content}]}).to_string());
        prop_assert_eq!(of(json!(said)), of(json!([{"type": "text", "text": said}])));
        prop_assert_eq!(of(json!(said)), of(json!([{"text": said, "cache_control": {"type": "ephemeral"}, "type": "text"}])));
    }
}

#[test]
fn nothing_said_is_nothing() {
    let of = |message: &str| text(Api::ChatCompletions, &format!(r#"{{"messages": [{message}]}}"#));
    let nothing = of(r#"{"role": "assistant"}"#);
    for content in [
        "null",
        "\"\"",
        "[]",
        "[null]",
        r#"[{"type": "text", "text": ""}]"#,
        r#"[{"type": "text"}]"#,
    ] {
        assert_eq!(
            of(&format!(r#"{{"role": "assistant", "content": {content}}}"#)),
            nothing,
            "{content}"
        );
        assert_eq!(
            of(&format!(r#"{{"content": {content}, "role": "assistant"}}"#)),
            nothing,
            "{content}"
        );
    }
}

#[test]
fn the_last_of_equal_keys_counts() {
    let of = |body: &str| shown(&text(Api::ChatCompletions, body));
    let expected = "<T>f<M>user<t>b";
    assert_eq!(
        of(r#"{"tools": [{"name": "f"}], "messages": [{"role": "user", "content": "b"}]}"#),
        expected
    );
    assert_eq!(
        of(r#"{"messages": [{"role": "x"}], "tools": [{"name": "g"}], "tools": [{"name": "f"}],
            "messages": [{"role": "user", "content": ["a"], "content": [{"text": "c", "text": "b"}]}]}"#),
        expected
    );
    assert_eq!(
        of(
            r#"{"messages": [{"role": "system", "content": ["b"], "role": "user"}], "tools": [{"name": "f"}]}"#
        ),
        expected
    );
    assert_eq!(
        of(
            r#"{"messages": [{"role": "user", "content": "a", "content": ["b"]}], "tools": [{"name": "f"}]}"#
        ),
        expected
    );
    assert_eq!(
        of(r#"{"messages": [{"role": "user", "content": ["b"], "content": null}]}"#),
        "<M>user"
    );
}

#[test]
fn images_are_there_by_what_they_show() {
    let of = |api, part: &str| {
        text(api, &format!(r#"{{"messages": [{{"role": "user", "content": [{part}]}}]}}"#))
    };
    let chat = |part: &str| of(Api::ChatCompletions, part);
    let image = chat(r#"{"type": "image_url", "image_url": {"url": "https://a/b.png"}}"#);
    assert_eq!(
        image,
        chat(
            r#"{"image_url": {"detail": "high", "url": "https:\/\/a\/b.png"}, "type": "image_url"}"#
        )
    );
    assert_ne!(image, chat(r#"{"type": "image_url", "image_url": {"url": "https://a/c.png"}}"#));
    // Engines identify the media by its name; the content may be missing.
    assert_eq!(
        chat(r#"{"type": "image_url", "image_url": {"url": "https://a/b.png"}, "uuid": "x"}"#),
        chat(r#"{"type": "image_url", "image_url": null, "uuid": "x"}"#)
    );
    let anthropic = |data: &str| {
        of(
            Api::Messages,
            &format!(
                r#"{{"type": "image", "source": {{"type": "base64", "media_type": "image/png", "data": "{data}"}}}}"#
            ),
        )
    };
    assert_ne!(anthropic("AAAA"), anthropic("AAAB"));
    assert!(anthropic(&"A".repeat(1 << 20)).len() < 50, "a hash, not the image");
}
