//! The JSON Schema of the own file, for editors.
//!
//! It is derived from the defaults of all fields, so it cannot lack one. It knows names and types;
//! [`read`](super::read) also checks ranges and references.

use alloc::string::String;

use serde_json::{Map, Value, json};

use super::own_file;

/// The schema, as JSON with one line for each field.
///
/// ```
/// let schema: serde_json::Value = serde_json::from_str(&slotwise_gateway::config::schema())?;
/// let pool = &schema["properties"]["pools"]["items"]["properties"];
/// assert_eq!(pool["scheduler"]["properties"]["max_in_flight"]["default"], 1 << 20);
/// # Ok::<(), serde_json::Error>(())
/// ```
pub fn schema() -> String {
    let example = serde_json::to_value(own_file::example()).unwrap_or_default();
    let Value::Object(mut schema) = of_value("", &example) else { return String::new() };
    schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
    schema.insert("title".into(), "A slotwise gateway".into());
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

/// The schema of values such as this one, which is a field's default or the example of an item.
fn of_value(field: &str, value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(_) => json!({"type": "boolean", "default": value}),
        // Limits may be `null`.
        Value::Number(number) if number.is_f64() => {
            json!({"type": ["number", "null"], "default": value})
        }
        Value::Number(_) => json!({"type": ["integer", "null"], "default": value}),
        Value::String(text) if text.is_empty() => json!({"type": "string"}),
        // A choice: its other values may be maps.
        Value::String(_) => json!({"default": value}),
        Value::Array(items) => match items.first() {
            Some(item) if field == "endpoints" => {
                json!({"type": "array", "items": {"anyOf": [{"type": "string"}, of_value("", item)]}})
            }
            Some(item) => json!({"type": "array", "items": of_value("", item)}),
            None => json!({"type": "array"}),
        },
        Value::Object(fields) => of_fields(fields),
    }
}

fn of_fields(fields: &Map<String, Value>) -> Value {
    // Names are free in a map without fields; a choice with a `type` has other fields for others.
    if fields.is_empty() || fields.contains_key("type") {
        return json!({"type": "object"});
    }
    let mut properties = Map::new();
    properties.extend(fields.iter().map(|(name, value)| (name.clone(), of_value(name, value))));
    json!({"type": "object", "additionalProperties": false, "properties": properties})
}
