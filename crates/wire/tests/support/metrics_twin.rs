//! A naive reader of metrics pages: line by line and character by character, with a `String` for
//! every value.

use std::collections::{BTreeMap, BTreeSet};

use slotwise_wire::metrics::{Engine, MetricsReport};

/// The values of a rank by the name of the field.
pub(crate) type Values = BTreeMap<&'static str, f64>;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Twin {
    /// By the length of the name, then by name.
    pub ranks: BTreeMap<(usize, String), Values>,
    /// Slots, and the adapters of running and queued requests.
    pub adapters: Option<(Option<u64>, BTreeSet<String>, BTreeSet<String>)>,
}

/// The same from the reader's report.
pub(crate) fn of_report(report: &MetricsReport) -> Twin {
    let mut twin = Twin::default();
    for rank in &report.ranks {
        let mut values = Values::new();
        let mut put =
            |field, value: Option<f64>| _ = value.map(|value| values.insert(field, value));
        put("waiting", rank.load.waiting.map(f64::from));
        put("running", rank.load.running.map(f64::from));
        put("kv_usage", rank.load.kv_usage);
        put("block_size", rank.kv_cache.block_size.map(|size| size.get().into()));
        put("blocks", rank.kv_cache.blocks.map(|blocks| blocks as f64));
        put("tokens", rank.kv_cache.tokens.map(|tokens| tokens as f64));
        twin.ranks.insert((rank.rank.len(), rank.rank.clone()), values);
    }
    twin.adapters = report.adapters.as_ref().map(|adapters| {
        let set = |names: &[String]| names.iter().cloned().collect();
        (
            adapters.slots.map(|slots| u64::from(slots.get())),
            set(&adapters.running),
            set(&adapters.waiting),
        )
    });
    twin
}

/// Reads a page; `None` if a relevant line is malformed. For engines whose series are summed.
pub(crate) fn read(page: &str, engine: Engine) -> Option<Twin> {
    let fields: &[(&str, &str, &str)] = match engine {
        Engine::Vllm => &[
            ("vllm:num_requests_waiting", "", "waiting"),
            ("vllm:num_requests_running", "", "running"),
            ("vllm:kv_cache_usage_perc", "", "kv_usage"),
            ("vllm:gpu_cache_usage_perc", "", "old_kv_usage"),
            ("vllm:cache_config_info", "", "cache"),
            ("vllm:lora_requests_info", "", "lora"),
        ],
        Engine::TritonTensorRtLlm => &[
            ("nv_trt_llm_request_metrics", "request_type=waiting", "waiting"),
            ("nv_trt_llm_request_metrics", "request_type=scheduled", "running"),
            ("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type=fraction", "kv_usage"),
            ("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type=tokens_per", "block_size"),
            ("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type=max", "blocks"),
        ],
        other => panic!("the twin does not know {other}"),
    };
    let rank_label = engine.rank_label().expect("one of those with ranks");
    // Every series of every field of every rank.
    let mut series: BTreeMap<(usize, String), BTreeMap<&str, Vec<f64>>> = BTreeMap::new();
    let mut newest: BTreeMap<String, (f64, BTreeMap<String, String>)> = BTreeMap::new();
    let parts: Vec<&str> = page.split('\n').collect();
    for (number, line) in parts.iter().enumerate() {
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start_matches([' ', '\t']);
        let name = line.split([' ', '\t', '{']).next().unwrap_or_default();
        if !fields.iter().any(|(field, ..)| *field == name) {
            continue;
        }
        if number + 1 == parts.len() {
            return None;
        }
        let (labels, value) = sample(&line[name.len()..])?;
        if !value.is_finite() {
            continue;
        }
        for (_, selector, field) in fields.iter().filter(|(field, ..)| *field == name) {
            if let Some((label, asked)) = selector.split_once('=') {
                if labels.get(label).map(String::as_str) != Some(asked) {
                    continue;
                }
            }
            let rank = labels.get(rank_label).cloned().unwrap_or_default();
            let mut put = |field, value: f64| {
                let rank = series.entry((escaped(&rank).len(), rank.clone())).or_default();
                rank.entry(field).or_default().push(value);
            };
            match *field {
                "cache" => {
                    for (label, field) in [
                        ("block_size", "block_size"),
                        ("num_gpu_blocks", "blocks"),
                        ("kv_cache_size_tokens", "tokens"),
                    ] {
                        if let Some(number) = whole(labels.get(label))? {
                            put(field, number as f64);
                        }
                    }
                }
                "lora" => {
                    whole(labels.get("max_lora"))?;
                    if newest.get(&rank).is_none_or(|(before, _)| *before <= value) {
                        newest.insert(rank, (value, labels.clone()));
                    }
                }
                other => put(other, value),
            }
        }
    }
    let mut twin = Twin::default();
    for ((_, rank), fields) in series {
        let mut values = Values::new();
        for (field, series) in fields {
            let clamped = |most: f64| series.iter().map(move |value| value.max(0.0).min(most));
            let (field, value) = match field {
                "waiting" => (
                    "waiting",
                    (clamped(u32::MAX.into()).sum::<f64>() + 0.5).floor().min(u32::MAX.into()),
                ),
                "running" => (
                    "running",
                    (clamped(u32::MAX.into()).sum::<f64>() + 0.5).floor().min(u32::MAX.into()),
                ),
                "kv_usage" => ("kv_usage", clamped(1.0).sum::<f64>() / series.len() as f64),
                "old_kv_usage" => ("old_kv_usage", clamped(1.0).sum::<f64>() / series.len() as f64),
                "block_size" => (
                    "block_size",
                    (clamped(u32::MAX.into()).fold(0.0, f64::max) + 0.5)
                        .floor()
                        .min(u32::MAX.into()),
                ),
                "blocks" => {
                    ("blocks", (clamped(9_007_199_254_740_992.0).sum::<f64>() + 0.5).floor())
                }
                _ => ("tokens", (clamped(9_007_199_254_740_992.0).sum::<f64>() + 0.5).floor()),
            };
            values.insert(field, value);
        }
        if let Some(old) = values.remove("old_kv_usage") {
            values.entry("kv_usage").or_insert(old);
        }
        if values.get("block_size") == Some(&0.0) {
            values.remove("block_size");
        }
        twin.ranks.insert((rank.len(), rank), values);
    }
    share_the_cache(&mut twin);
    for (_, labels) in newest.into_values() {
        let all = twin.adapters.get_or_insert_default();
        let slots = whole(labels.get("max_lora"))?
            .map(|slots| slots.min(u32::MAX.into()))
            .filter(|slots| *slots > 0);
        all.0 = all.0.max(slots);
        for (label, set) in
            [("running_lora_adapters", &mut all.1), ("waiting_lora_adapters", &mut all.2)]
        {
            let names =
                labels.get(label).map(String::as_str).unwrap_or_default().split(',').map(str::trim);
            set.extend(names.filter(|name| !name.is_empty()).map(str::to_string));
        }
    }
    Some(twin)
}

/// A cache without a rank counts for every rank without its own.
fn share_the_cache(twin: &mut Twin) {
    const CACHE: [&str; 3] = ["block_size", "blocks", "tokens"];
    let key = (0, String::new());
    let Some(unnamed) = twin.ranks.get(&key).cloned() else { return };
    if twin.ranks.len() == 1 {
        return;
    }
    for (_, values) in twin.ranks.iter_mut().filter(|(name, _)| **name != key) {
        if CACHE.iter().all(|field| !values.contains_key(field)) {
            values.extend(unnamed.iter().filter(|(field, _)| CACHE.contains(field)));
        }
    }
    if unnamed.keys().all(|field| CACHE.contains(field)) {
        twin.ranks.remove(&key);
    }
}

/// The labels and the value of a sample, after its name.
fn sample(text: &str) -> Option<(BTreeMap<String, String>, f64)> {
    let mut rest: Vec<char> = text.chars().rev().collect();
    let blanks = |rest: &mut Vec<char>| {
        while matches!(rest.last(), Some(' ' | '\t')) {
            rest.pop();
        }
    };
    let mut labels = BTreeMap::new();
    blanks(&mut rest);
    if rest.last() == Some(&'{') {
        rest.pop();
        blanks(&mut rest);
        while rest.last() != Some(&'}') {
            let mut name = String::new();
            while let Some(next) =
                pop_if(&mut rest, |next| next.is_ascii_alphanumeric() || *next == '_')
            {
                name.push(next);
            }
            if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
                return None;
            }
            blanks(&mut rest);
            pop_if(&mut rest, |next| *next == '=')?;
            blanks(&mut rest);
            pop_if(&mut rest, |next| *next == '"')?;
            let mut value = String::new();
            loop {
                match rest.pop()? {
                    '"' => break,
                    '\\' => value.push(match rest.pop()? {
                        'n' => '\n',
                        other @ ('\\' | '"') => other,
                        _ => return None,
                    }),
                    other => value.push(other),
                }
            }
            labels.entry(name).or_insert(value);
            blanks(&mut rest);
            if pop_if(&mut rest, |next| *next == ',').is_none() && rest.last() != Some(&'}') {
                return None;
            }
            blanks(&mut rest);
        }
        rest.pop();
    }
    let rest: String = rest.into_iter().rev().collect();
    let mut words = rest.split([' ', '\t']).filter(|word| !word.is_empty());
    let value = words.next()?.parse().ok()?;
    match words.next() {
        Some(word) if !word.starts_with('#') => {
            word.parse::<f64>().ok()?;
            if !words.next().is_none_or(|word| word.starts_with('#')) {
                return None;
            }
        }
        _ => {}
    }
    Some((labels, value))
}

fn pop_if(rest: &mut Vec<char>, wanted: impl Fn(&char) -> bool) -> Option<char> {
    if rest.last().is_some_and(wanted) { rest.pop() } else { None }
}

fn whole(value: Option<&String>) -> Option<Option<u64>> {
    match value.map(String::as_str) {
        None | Some("" | "None") => Some(None),
        Some(digits) => Some(Some(digits.parse().ok()?)),
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Whether a line repeats a label. The reader rejects only repeated labels that it needs; the twin
/// rejects none.
#[allow(dead_code, reason = "the fuzz target asks")]
pub(crate) fn repeats_a_label(page: &str) -> bool {
    let labels = [
        "engine",
        "model",
        "max_lora",
        "running_lora_adapters",
        "waiting_lora_adapters",
        "block_size",
        "num_gpu_blocks",
        "kv_cache_size_tokens",
        "request_type",
        "kv_cache_block_type",
    ];
    page.split('\n').any(|line| labels.iter().any(|label| line.matches(label).count() > 1))
}
