//! Random bodies of all APIs with keys in any order, compared with their trees.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use slotwise::Rng;
use slotwise_wire::request::{Api, ModelSplice, RequestReader, rewrite_model};

use super::twin::Twin;

/// Strings with special characters.
pub(super) fn words() -> impl Strategy<Value = String> {
    let word = select(vec![
        "",
        "a",
        "user",
        "\"",
        "\\",
        "\n",
        "\u{0}",
        "ÿ",
        "ÿM",
        "é",
        "😀",
        "你好",
        "<|im_end|>",
        "\\u00ff",
        "}",
        "x y z",
        "x-anthropic-billing-header: cc=1",
    ]);
    vec(word, 0..4).prop_map(|words| words.concat())
}

fn object(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let (keys, values): (Vec<_>, Vec<_>) =
        fields.into_iter().map(|(key, value)| (key, option::of(value))).unzip();
    let object = values.prop_map(move |values| {
        let fields = keys.iter().zip(values);
        Value::Object(
            fields.filter_map(|(key, value)| Some((String::from(*key), value?))).collect(),
        )
    });
    object.boxed()
}

/// An object with all these fields.
fn whole(fields: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let (keys, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let object = values.prop_map(move |values| {
        Value::Object(keys.iter().map(|key| String::from(*key)).zip(values).collect())
    });
    object.boxed()
}

fn with(first: BoxedStrategy<Value>, second: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let both = (first, second).prop_map(|(mut first, mut second)| {
        let (Some(into), Some(from)) = (first.as_object_mut(), second.as_object_mut()) else {
            panic!("objects")
        };
        into.append(from);
        first
    });
    both.boxed()
}

fn string() -> BoxedStrategy<Value> {
    words().prop_map(Value::from).boxed()
}

fn just(value: impl Into<Value>) -> BoxedStrategy<Value> {
    Just(value.into()).boxed()
}

fn or_null(value: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    prop_oneof![9 => value, 1 => Just(Value::Null)].boxed()
}

fn array(of: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    vec(of, 0..4).prop_map(Value::from).boxed()
}

/// JSON that the reader copies.
fn opaque() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![string(), just(Value::Null), just(1.5), just(true), just(-3)];
    let nested = leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map(words(), inner, 0..3).prop_map(|map| json!(map)),
        ]
    });
    nested.boxed()
}

fn arguments() -> BoxedStrategy<Value> {
    prop_oneof![
        string(),
        prop::collection::btree_map(words(), opaque(), 0..3).prop_map(|map| json!(map))
    ]
    .boxed()
}

fn content(nested: bool) -> BoxedStrategy<Value> {
    let marked = || object(vec![("cache_control", just(json!({"type": "ephemeral"})))]);
    let kind = |kind: &'static str, fields| {
        with(marked(), with(whole(vec![("type", just(kind))]), fields))
    };
    let text = || prop_oneof![just("text"), just("input_text"), just("output_text")].boxed();
    let url = || with(whole(vec![("url", string())]), object(vec![("detail", just("low"))]));
    let source = prop_oneof![
        whole(vec![
            ("type", just("base64")),
            ("media_type", just("image/png")),
            ("data", string())
        ]),
        whole(vec![("type", just("url")), ("url", string())]),
    ];
    let mut parts = vec![
        (6, with(marked(), whole(vec![("type", text()), ("text", string())]))),
        (1, string()),
        (1, kind("refusal", whole(vec![("refusal", string())]))),
        (1, kind("thinking", object(vec![("thinking", string()), ("signature", string())]))),
        (1, kind("reasoning_text", object(vec![("text", string())]))),
        (1, kind("redacted_thinking", object(vec![("data", string())]))),
        (
            1,
            kind(
                "image_url",
                with(whole(vec![("image_url", url())]), object(vec![("uuid", string())])),
            ),
        ),
        (1, kind("input_image", whole(vec![("image_url", string())]))),
        (1, kind("image", whole(vec![("source", source.boxed())]))),
        (
            1,
            kind(
                "input_audio",
                whole(vec![(
                    "input_audio",
                    whole(vec![("data", string()), ("format", just("wav"))]),
                )]),
            ),
        ),
        (1, kind("novel", object(vec![("text", string()), ("deep", opaque())]))),
        (
            2,
            kind(
                "tool_use",
                object(vec![("id", string()), ("name", string()), ("input", arguments())]),
            ),
        ),
    ];
    if !nested {
        let result = whole(vec![("tool_use_id", string())]);
        let rest = object(vec![
            ("content", content(true)),
            ("is_error", any::<bool>().prop_map(Value::from).boxed()),
        ]);
        parts.push((2, kind("tool_result", with(result, rest))));
    }
    let part = prop::strategy::Union::new_weighted(parts).boxed();
    or_null(prop_oneof![string(), array(part)].boxed())
}

fn function() -> BoxedStrategy<Value> {
    object(vec![("name", string()), ("arguments", arguments())])
}

pub(super) fn call() -> BoxedStrategy<Value> {
    whole(vec![("type", just("function")), ("id", string()), ("function", function())])
}

pub(super) fn message() -> BoxedStrategy<Value> {
    let role = select(vec!["user", "assistant", "system", "tool", "developer"])
        .prop_map(Value::from)
        .boxed();
    let plain = whole(vec![("role", role.clone()), ("content", content(false))]);
    let rest = object(vec![
        ("name", string()),
        ("tool_call_id", string()),
        ("reasoning_content", string()),
        ("reasoning", string()),
        ("tool_calls", or_null(array(call()))),
        ("function_call", or_null(function())),
        ("refusal", just(Value::Null)),
    ]);
    prop_oneof![3 => plain, 1 => with(whole(vec![("role", role)]), rest.clone()), 1 => rest].boxed()
}

fn item() -> BoxedStrategy<Value> {
    let kind = |kind: &'static str, fields| with(whole(vec![("type", just(kind))]), fields);
    let calls = object(vec![
        ("name", string()),
        ("arguments", string()),
        ("call_id", string()),
        ("id", string()),
    ]);
    let output = object(vec![("output", content(false)), ("call_id", string())]);
    let reasoning =
        object(vec![("summary", content(false)), ("content", content(false)), ("id", string())]);
    prop_oneof![
        3 => message(),
        1 => kind("message", message()),
        1 => kind("function_call", calls),
        1 => kind("function_call_output", output),
        1 => kind("reasoning", reasoning),
        1 => kind("novel", object(vec![("id", string()), ("deep", opaque())])),
    ]
    .boxed()
}

fn tool() -> BoxedStrategy<Value> {
    let fields = |schema| {
        object(vec![
            ("name", string()),
            ("description", string()),
            (schema, opaque()),
            ("strict", just(true)),
        ])
    };
    prop_oneof![
        whole(vec![("type", just("function")), ("function", fields("parameters"))]),
        with(object(vec![("type", just("function"))]), fields("parameters")),
        with(
            object(vec![("cache_control", just(json!({}))), ("type", just("bash_20250124"))]),
            fields("input_schema")
        ),
    ]
    .boxed()
}

fn tokens() -> BoxedStrategy<Value> {
    vec(any::<u32>(), 1..5).prop_map(Value::from).boxed()
}

fn token_prompt() -> BoxedStrategy<Value> {
    or_null(
        prop_oneof![tokens(), vec(tokens(), 1..3).prop_map(Value::from), just(json!([]))].boxed(),
    )
}

fn plain_prompt() -> BoxedStrategy<Value> {
    or_null(
        prop_oneof![string(), vec(string(), 0..3).prop_map(Value::from), token_prompt()].boxed(),
    )
}

fn number() -> BoxedStrategy<Value> {
    or_null(prop_oneof![0_u64..100, Just(1 << 40)].prop_map(Value::from).boxed())
}

pub(super) fn body(api: Api) -> BoxedStrategy<Value> {
    let flag = || or_null(any::<bool>().prop_map(Value::from).boxed());
    let text = || or_null(string());
    let sampling = || {
        object(vec![
            ("max_new_tokens", number()),
            ("max_tokens", number()),
            ("n", number()),
            ("stop", opaque()),
        ])
    };
    let mut fields = vec![
        ("stream", flag()),
        ("stream_options", or_null(object(vec![("include_usage", flag()), ("other", opaque())]))),
        ("priority", or_null(any::<i64>().prop_map(Value::from).boxed())),
        ("cache_salt", text()),
        ("request_id", text()),
        ("user", text()),
        ("temperature", opaque()),
        ("vllm_xargs", or_null(object(vec![("session_id", or_null(opaque()))]))),
        ("kv_transfer_params", opaque()),
        ("max_tokens", number()),
        ("metadata", or_null(object(vec![("user_id", text())]))),
    ];
    let mut rare = vec![
        ("session_id", text()),
        ("prompt_cache_key", text()),
        ("lora_path", or_null(prop_oneof![string(), array(text())].boxed())),
        ("rid", prop_oneof![text(), array(text())].boxed()),
        ("session_params", or_null(object(vec![("id", text())]))),
        ("bootstrap_room", opaque()),
        ("prompt_token_ids", token_prompt()),
        ("input_ids", token_prompt()),
    ];
    match api {
        Api::ChatCompletions => fields.extend([
            ("messages", array(message())),
            ("tools", or_null(array(tool()))),
            ("max_completion_tokens", number()),
            ("n", number()),
        ]),
        Api::Completions => fields.extend([("prompt", plain_prompt()), ("n", number())]),
        Api::Responses => {
            fields.extend([
                ("input", or_null(prop_oneof![string(), array(item())].boxed())),
                ("instructions", text()),
                ("tools", array(tool())),
                ("max_output_tokens", number()),
                ("previous_response_id", text()),
            ]);
            rare.push((
                "conversation",
                or_null(prop_oneof![string(), object(vec![("id", text())])].boxed()),
            ));
        }
        Api::Embeddings => {
            fields.push(("messages", array(message())));
            rare.push(("input", prop_oneof![plain_prompt(), array(message())].boxed()));
        }
        Api::Messages => fields.extend([
            ("messages", array(message())),
            ("system", content(false)),
            ("tools", or_null(array(tool()))),
        ]),
        Api::InferenceGenerate => {
            fields
                .extend([("token_ids", token_prompt()), ("sampling_params", or_null(sampling()))]);
        }
        _ => fields.extend([
            ("text", plain_prompt()),
            ("sampling_params", or_null(prop_oneof![sampling(), array(sampling())].boxed())),
            ("n", number()),
        ]),
    }
    let rare = prop_oneof![3 => just(json!({})), 1 => object(rare)].boxed();
    let all = with(with(object(fields), rare), object(vec![("model", text())]));
    // The prompt may be null, but its key is present.
    let prompt = match api {
        Api::ChatCompletions | Api::Messages => "messages",
        Api::Completions => "prompt",
        Api::Responses | Api::Embeddings => "input",
        Api::InferenceGenerate => "token_ids",
        _ => "text",
    };
    let has_prompt = all.prop_map(move |mut body| {
        if body.get("messages").is_none() {
            body.as_object_mut().expect("an object").entry(prompt).or_insert(Value::Null);
        }
        body
    });
    has_prompt.boxed()
}

/// Writes a body with keys in any order, redundant escapes and white space. JSON that the reader
/// copies stays as it is.
pub(super) fn write(value: &Value, rng: &mut Rng) -> String {
    let mut written = String::new();
    write_to(value, rng, &mut written);
    written
}

fn write_to(value: &Value, rng: &mut Rng, to: &mut String) {
    let space = |to: &mut String, rng: &mut Rng| {
        if rng.next_u64() % 8 == 0 {
            to.push_str([" ", "\n", "\t", "\r\n "][rng.next_u64() as usize % 4]);
        }
    };
    space(to, rng);
    match value {
        Value::Object(object) if object.get("type").is_none_or(|kind| kind != "novel") => {
            let mut fields: Vec<_> = object.iter().collect();
            for last in (1..fields.len()).rev() {
                fields.swap(last, rng.next_u64() as usize % (last + 1));
            }
            to.push('{');
            for (index, (key, value)) in fields.into_iter().enumerate() {
                to.push_str(if index == 0 { "" } else { "," });
                space(to, rng);
                to.push_str(&escaped(key, rng));
                space(to, rng);
                to.push(':');
                if ["parameters", "input_schema", "arguments", "chat_template_kwargs"]
                    .contains(&&**key)
                    || key == "input" && value.is_object()
                {
                    to.push_str(&value.to_string());
                } else {
                    write_to(value, rng, to);
                }
            }
            to.push('}');
        }
        Value::Array(items) => {
            to.push('[');
            for (index, item) in items.iter().enumerate() {
                to.push_str(if index == 0 { "" } else { "," });
                write_to(item, rng, to);
            }
            to.push(']');
        }
        Value::String(string) => to.push_str(&escaped(string, rng)),
        other => to.push_str(&other.to_string()),
    }
    space(to, rng);
}

fn escaped(string: &str, rng: &mut Rng) -> String {
    if rng.next_u64() % 4 > 0 {
        return Value::from(string).to_string();
    }
    let units = string.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
    format!("\"{}\"", units.collect::<String>())
}

pub(super) fn any_body() -> impl Strategy<Value = (Api, Value)> {
    select(Api::ALL[..7].to_vec()).prop_flat_map(|api| body(api).prop_map(move |body| (api, body)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_body_says_what_its_tree_says((api, body) in any_body(), seed in any::<u64>()) {
        let written = write(&body, &mut Rng::new(seed));
        let mut reader = RequestReader::new();
        let view = reader.read(api, written.as_bytes());
        let view = view.map_err(|error| TestCaseError::fail(format!("{error}: {written}")))?;
        prop_assert_eq!(Twin::of_view(&view), Twin::of_tree(api, &body), "{}", written);
        // The view borrows text without escapes.
        if let Some(model) = &view.model {
            let range = view.model_range.clone().expect("beside the model");
            let quoted = written.get(range).expect("in the body");
            prop_assert_eq!(&serde_json::from_str::<String>(quoted).expect("a string"), model);
            prop_assert!(quoted.contains('\\') || matches!(model, std::borrow::Cow::Borrowed(_)));
        }
    }

    #[test]
    fn a_reader_remembers_nothing((first, second) in (any_body(), any_body())) {
        let mut reader = RequestReader::new();
        let of = |reader: &mut RequestReader, (api, body): &(Api, Value)| {
            Twin::of_view(&reader.read(*api, body.to_string().as_bytes()).expect("valid"))
        };
        of(&mut reader, &first);
        prop_assert_eq!(of(&mut reader, &second), of(&mut RequestReader::new(), &second));
    }

    #[test]
    fn only_the_model_is_replaced((api, body) in any_body(), model in words(), seed in any::<u64>()) {
        let written = write(&body, &mut Rng::new(seed));
        let mut reader = RequestReader::new();
        let view = reader.read(api, written.as_bytes()).expect("valid");
        let splice = ModelSplice::find(written.as_bytes(), &model);
        if body["model"].is_string() {
            let splice = splice.expect("a model");
            prop_assert_eq!(&view.model_splice(&model), &Ok(splice.clone()));
            let rewritten = rewrite_model(written.as_bytes(), &model).expect("a model");
            prop_assert_eq!(&splice.apply(written.as_bytes()), &rewritten);
            prop_assert!(rewritten.starts_with(&written.as_bytes()[..splice.range.start]));
            prop_assert!(rewritten.ends_with(&written.as_bytes()[splice.range.end..]));
            prop_assert_eq!(rewritten.len() + splice.range.len(), written.len() + splice.replacement.len());
            let mut expected = body.clone();
            expected["model"] = model.into();
            prop_assert_eq!(serde_json::from_slice::<Value>(&rewritten).expect("still JSON"), expected);
        } else {
            prop_assert_eq!(splice.expect_err("none").problem.code(), "unexpected");
            prop_assert!(view.model_splice(&model).is_err());
        }
    }
}
