//! Conversations of agents, turn by turn.

use serde_json::{Value, json};
use slotwise_wire::request::Api;

use super::{shown, text};

/// All turns of a conversation: each request ends before a message of the assistant.
fn turns(api: Api, key: &str, base: &Value, messages: &Value) -> Vec<Vec<u8>> {
    let messages = messages.as_array().expect("messages");
    let ends = (1..=messages.len()).filter(|end| messages[end - 1]["role"] != "assistant");
    let turns = ends.map(|end| {
        let mut body = base.clone();
        body[key] = messages[..end].into();
        text(api, &body.to_string())
    });
    turns.collect()
}

#[track_caller]
fn assert_each_extends_the_one_before(turns: &[Vec<u8>]) {
    assert!(turns.len() > 2);
    for pair in turns.windows(2) {
        assert!(
            pair[1].starts_with(&pair[0]) && pair[1].len() > pair[0].len(),
            "{} / {}",
            shown(&pair[0]),
            shown(&pair[1])
        );
    }
}

#[test]
fn an_agent_of_chat_completions() {
    let base = json!({"model": "llama", "temperature": 0, "stream": true, "tools": [
        {"type": "function", "function": {"name": "weather", "description": "Now, in a town",
            "parameters": {"type": "object", "properties": {"town": {"type": "string"}}}, "strict": true}}]});
    let messages = json!([
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": "Weather in Bonn and Köln?"},
        {"role": "assistant", "content": null, "refusal": null, "annotations": [], "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"town\": \"Bonn\"}"}},
            {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": "{\"town\": \"Köln\"}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "12 °C"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "13 °C"}]},
        {"role": "assistant", "content": "12 and 13.", "reasoning_content": "Easy."},
        {"role": "user", "name": "ann", "content": [
            {"type": "text", "text": "And this?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
    ]);
    let turns = turns(Api::ChatCompletions, "messages", &base, &messages);
    assert_each_extends_the_one_before(&turns);
    assert_eq!(
        mask(&shown(&turns[4])),
        "<T>weather<d>Now, in a town<p>{\"properties\":{\"town\":{\"type\":\"string\"}},\"type\":\"object\"}\
             <M>system<t>You are brief.<M>user<t>Weather in Bonn and Köln?\
             <M>assistant<c>weather<a>{\"town\": \"Bonn\"}<i>call_1<c>weather<a>{\"town\": \"Köln\"}<i>call_2\
             <M>tool<t>12 °C<i>call_1<M>tool<t>13 °C<i>call_2<M>assistant<t>12 and 13.\
             <M>user<t>And this?<m>image_url<n>ann"
    );
}

/// Masks the digits of a hash.
fn mask(shown: &str) -> String {
    let Some(at) = shown.find("<h>") else { return shown.into() };
    format!("{}{}", &shown[..at], &shown[at + 3 + 16..])
}

#[test]
fn an_agent_of_messages_who_moves_its_cache_marks() {
    let tools = |marked: bool| {
        let mut tool =
            json!({"name": "bash", "description": "Runs", "input_schema": {"type": "object"}});
        if marked {
            tool["cache_control"] = json!({"type": "ephemeral"});
        }
        json!([tool])
    };
    let messages = json!([
        {"role": "user", "content": [{"type": "text", "text": "List files", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "ls will do", "signature": "abc"},
            {"type": "redacted_thinking", "data": "xyz"},
            {"type": "text", "text": "I look."},
            {"type": "tool_use", "id": "toolu_1", "name": "bash", "input": {"command": "ls"}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "a.txt"},
                {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}}]},
            {"type": "text", "text": "Go on", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
        {"role": "assistant", "content": "Done."},
        {"role": "user", "content": "Thanks"},
    ]);
    let base = |turn: u32| {
        json!({"model": "claude", "max_tokens": 100, "metadata": {"user_id": format!("turn {turn}")}, "tools": tools(turn == 1),
            "system": [
                {"type": "text", "text": format!("x-anthropic-billing-header: cch={turn};")},
                {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}}]})
    };
    let first = turns(Api::Messages, "messages", &base(1), &messages);
    // The next turn has its cache breakpoints elsewhere: on the last message only.
    let mut moved = messages;
    moved[0]["content"] = json!("List files");
    moved[2]["content"][1] = json!({"type": "text", "text": "Go on"});
    moved[4]["content"] =
        json!([{"type": "text", "text": "Thanks", "cache_control": {"type": "ephemeral"}}]);
    let second = turns(Api::Messages, "messages", &base(2), &moved);
    assert_eq!(first, second);
    assert_each_extends_the_one_before(&first);
    assert_eq!(
        mask(&shown(&first[2])),
        "<T>bash<d>Runs<p>{\"type\":\"object\"}<M>system<t>You are an agent.<M>user<t>List files\
         <M>assistant<t>I look.<c>bash<a>{\"command\":\"ls\"}<i>toolu_1\
         <M>user<R>toolu_1<t>a.txt<m>image<.><t>Go on<M>assistant<t>Done.<M>user<t>Thanks"
    );
}

#[test]
fn an_agent_of_responses() {
    let base = json!({"model": "gpt-oss", "instructions": "Be kind.", "store": false,
        "chat_template_kwargs": {"preserve_thinking": true},
        "tools": [{"type": "function", "name": "f", "parameters": {}}, {"type": "web_search"}]});
    let items = json!([
        {"role": "user", "content": "Hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "A greeting"}], "role": null},
        {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": "{}", "status": "completed"},
        {"type": "function_call_output", "call_id": "call_1", "output": "42"},
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "42", "annotations": []}]},
        {"role": "user", "content": [{"type": "input_text", "text": "Thanks"}]},
    ]);
    let turns = turns(Api::Responses, "input", &base, &items);
    assert_each_extends_the_one_before(&turns);
    assert_eq!(
        shown(turns.last().expect("turns")),
        "<A>chat_template_kwargs<j>{\"preserve_thinking\":true}<T>f<p>{}<T><k>web_search<M>system<t>Be kind.<M>user<t>Hi<M>assistant<r>A greeting<M>assistant<c>f<a>{}<i>call_1\
         <M>tool<t>42<i>call_1<M>assistant<t>42<M>user<t>Thanks"
    );
    let mut short = base;
    short["input"] = "Hi".into();
    assert_eq!(text(Api::Responses, &short.to_string()), turns[0]);
}

/// The canonical text leaves out the reasoning that templates leave out.
#[test]
fn reasoning_of_earlier_turns_is_left_out() {
    let of = |model: &str, upto: usize| {
        let messages = json!([
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "reasoning_content": "R1", "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "12"},
            {"role": "user", "content": "Quick!"},
            {"role": "assistant", "content": "<think>R2</think>\n\n12."},
            {"role": "user", "content": "Thanks"},
        ]);
        let messages = &messages.as_array().expect("messages")[..upto];
        shown(&text(
            Api::ChatCompletions,
            &json!({"messages": messages, "model": model}).to_string(),
        ))
    };
    assert_eq!(
        of("qwen3", 3),
        "<M>user<t>Weather?<M>assistant<r>R1<c>f<a>{}<i>c1<M>tool<t>12<i>c1",
        "a loop of tools keeps it"
    );
    assert_eq!(
        of("qwen3", 6),
        "<M>user<t>Weather?<M>assistant<c>f<a>{}<i>c1<M>tool<t>12<i>c1<M>user<t>Quick!\
         <M>assistant<t>12.<M>user<t>Thanks"
    );
    // There, reasoning stays until the model has answered.
    assert_eq!(
        of("openai/gpt-oss-120b", 4),
        "<M>user<t>Weather?<M>assistant<r>R1<c>f<a>{}<i>c1<M>tool<t>12<i>c1<M>user<t>Quick!"
    );
    assert_eq!(of("openai/gpt-oss-120b", 6), of("qwen3", 6));
}

/// Template arguments come first, in any order of the body.
#[test]
fn arguments_of_the_template_come_first() {
    let of = |fields: Value| {
        let mut body = json!({"messages": [{"role": "user", "content": "Hi"}]});
        body.as_object_mut()
            .expect("an object")
            .extend(fields.as_object().expect("fields").clone());
        shown(&text(Api::ChatCompletions, &body.to_string()))
    };
    let plain = "<M>user<t>Hi";
    assert_eq!(
        of(json!({"reasoning_effort": "low"})),
        format!("<A>reasoning_effort<j>\"low\"{plain}")
    );
    assert_eq!(
        of(json!({"reasoning": {"effort": "low", "summary": "auto"}})),
        of(json!({"reasoning_effort": "low"}))
    );
    assert_eq!(
        of(json!({"documents": [{"text": "one"}], "chat_template_kwargs": {"a": 1}})),
        format!(
            "<A>chat_template_kwargs<j>{{\"a\":1}}<A>documents<j>[{{\"text\":\"one\"}}]{plain}"
        )
    );
    let nothing = json!({"reasoning_effort": null, "documents": [], "chat_template_kwargs": {}, "tool_choice": "none",
        "response_format": {"type": "json_object"}, "add_generation_prompt": true, "temperature": 1});
    assert_eq!(of(nothing), plain);
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    assert_eq!(of(json!({"tools": tools, "tool_choice": "auto"})), format!("<T>f{plain}"));
    assert_eq!(
        of(json!({"tools": tools, "tool_choice": "none"})),
        format!("<A>tool_choice<j>\"none\"<T>f{plain}")
    );
}
