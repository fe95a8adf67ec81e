use alloc::format;
use alloc::string::{String, ToString};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Reads any value into a tree without `skip`.
fn read(reader: &mut Reader<'_>) -> Result<Value> {
    Ok(match reader.kind()? {
        Kind::Object => {
            let mut object = serde_json::Map::new();
            reader.open_object()?;
            while let Some(key) = reader.next_key()? {
                object.insert(key.read().into(), read(reader)?);
            }
            Value::Object(object)
        }
        Kind::Array => {
            let mut array = alloc::vec::Vec::new();
            reader.open_array()?;
            while reader.next_item()? {
                array.push(read(reader)?);
            }
            Value::Array(array)
        }
        Kind::Text => Value::String(reader.text()?.read().into()),
        Kind::Number => {
            let number = reader.number()?;
            number.digits().parse::<u64>().map_or_else(
                |_| {
                    number
                        .digits()
                        .parse::<i64>()
                        .map_or_else(|_| number.float().into(), Value::from)
                },
                Value::from,
            )
        }
        Kind::Boolean => Value::Bool(reader.boolean()?),
        Kind::Null => {
            assert!(reader.null()?);
            Value::Null
        }
    })
}

fn whole(text: &[u8]) -> Result<Value> {
    let mut reader = Reader::new(text)?;
    let value = read(&mut reader)?;
    reader.end()?;
    Ok(value)
}

fn skipped(text: &[u8]) -> Result<String> {
    let mut reader = Reader::new(text)?;
    let value = reader.skip()?.to_string();
    reader.end()?;
    Ok(value)
}

fn error(text: &str) -> WireError {
    let error = whole(text.as_bytes()).expect_err(text);
    assert_eq!(skipped(text.as_bytes()), Err(error), "skipping is as strict as reading");
    error
}

#[test]
fn errors_say_where() {
    let expected = |text, offset, what| assert_eq!(error(text), WireError::expected(offset, what));
    expected("{\"a\" 1}", 5, "a colon");
    expected("{\"a\":1 \"b\":2}", 7, "a comma or the end of the object");
    expected("[1 2]", 3, "a comma or the end of the array");
    expected("{1:2}", 1, "a key");
    expected("[1,]", 3, "a value");
    expected("{\"a\":1,}", 7, "a key");
    expected("01", 1, "the end");
    expected("-", 1, "a digit");
    expected("1.", 2, "a digit");
    expected("1e+", 3, "a digit");
    expected("tru", 0, "true or false");
    expected("nul", 0, "a value");
    expected("\"\\x\"", 2, "an escape");
    expected("\"\\u12g4\"", 5, "a hexadecimal digit");
    for cut in ["", "[", "{\"a\"", "\"abc", "\"\\", "\"\\u12", "[1,", "{\"a\":"] {
        assert_eq!(error(cut), WireError::new(cut.len(), ErrorKind::Truncated), "{cut}");
    }
    assert_eq!(whole(b"\"\xff\"").expect_err("no UTF-8"), WireError::new(1, ErrorKind::NotUtf8));
}

#[test]
fn nesting_has_an_end() {
    let nest = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(skipped(nest(DEEPEST).as_bytes()).is_ok());
    let too_deep = WireError::new(DEEPEST, ErrorKind::TooDeep(DEEPEST));
    assert_eq!(skipped(nest(DEEPEST + 1).as_bytes()), Err(too_deep));
    assert_eq!(
        skipped("{\"a\":[".repeat(1_000_000).as_bytes()).expect_err("too deep").problem.code(),
        "too_deep"
    );
}

#[test]
fn escapes_mean_what_they_mean() {
    let text = r#""a\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\ud83d \ude00\u0000""#;
    let said = whole(text.as_bytes()).expect("valid");
    assert_eq!(said, "a\"\\/\u{8}\u{c}\n\r\té😀\u{fffd} \u{fffd}\0");
}

#[test]
fn numbers_keep_all_digits() {
    let number = |text: &'static str| Number::new(text, 7);
    assert_eq!(number("18446744073709551615").whole("n"), Ok(u64::MAX));
    assert_eq!(
        number("18446744073709551616").whole("n"),
        Err(WireError::new(7, ErrorKind::OutOfRange("n")))
    );
    assert_eq!(number("1e3").small("n"), Ok(1_000));
    assert_eq!(number("4294967296").small("n").expect_err("too large").offset, 7);
    assert_eq!((number("-5").signed("n"), number("-5.0").signed("n")), (Ok(-5), Ok(-5)));
    for bad in ["1.5", "-1", "1e40"] {
        assert!(number(bad).whole("n").is_err(), "{bad}");
    }
    assert!(number("2147483648").signed("n").is_err());
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e300f64..1e300).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..8)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
        let text = text.expect("serializable");
        prop_assert_eq!(skipped(text.as_bytes()).expect("valid"), &*text);
        prop_assert_eq!(whole(text.as_bytes()).expect("valid"), value);
    }

    /// The parser accepts what `serde_json` accepts, and does not panic.
    #[test]
    fn nonsense_is_refused(value in any_json(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut text = serde_json::to_vec(&value).expect("serializable");
        let at = at.index(text.len());
        text[at] = byte;
        match (whole(&text), serde_json::from_slice::<Value>(&text)) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
            (Err(error), Err(_)) => {
                prop_assert!(error.offset <= text.len());
                prop_assert_eq!(skipped(&text).expect_err("skipping is as strict"), error);
            }
            // The extensions: control characters in strings, and numbers beyond the range of `f64`.
            (Ok(_), Err(error)) => {
                prop_assert!(error.to_string().contains("control character") || error.to_string().contains("out of range"), "{error}");
            }
            (Err(error), Ok(theirs)) => prop_assert!(false, "{error}: {theirs}"),
        }
    }
}
