//! A strict parser of OpenMetrics 1.0 text with counters, gauges and histograms.

use std::collections::BTreeSet;

/// The metrics of one name.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) unit: Option<String>,
    pub(crate) help: String,
    pub(crate) samples: Vec<Sample>,
}

/// One value with its labels.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) value: f64,
}

impl Sample {
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

/// Parses a text, or returns the rule that it violates.
pub(crate) fn read(text: &str) -> Result<Vec<Family>, String> {
    let body = text.strip_suffix("# EOF\n").ok_or("no # EOF at the end")?;
    if !body.is_empty() && !body.ends_with('\n') {
        return Err("the line before # EOF has no end".into());
    }
    let mut families: Vec<Family> = Vec::new();
    for line in body.split_terminator('\n') {
        match line.strip_prefix("# ") {
            Some(description) => describe(description, &mut families)?,
            None if line.starts_with('#') => return Err(format!("a comment: {line}")),
            None => {
                let sample = sample(line)?;
                let family = families.last_mut().ok_or("a sample before any family")?;
                add(sample, family)?;
            }
        }
    }
    let mut names = BTreeSet::new();
    for family in &families {
        if family.kind.is_empty() || family.help.is_empty() {
            return Err(format!("{} has no TYPE or no HELP", family.name));
        }
        if family.unit.as_ref().is_some_and(|unit| !family.name.ends_with(&format!("_{unit}"))) {
            return Err(format!("{} does not end in its unit", family.name));
        }
        let suffixes: &[&str] = match family.kind.as_str() {
            "counter" => &["_total", "_created", ""],
            "histogram" => &["_bucket", "_sum", "_count", "_created", ""],
            _ => &[""],
        };
        for suffix in suffixes {
            if !names.insert(format!("{}{suffix}", family.name)) {
                return Err(format!("{} clashes with another family", family.name));
            }
        }
    }
    Ok(families)
}

fn describe(line: &str, families: &mut Vec<Family>) -> Result<(), String> {
    let mut words = line.splitn(3, ' ');
    let (keyword, name, rest) = (words.next(), words.next(), words.next());
    let (Some(keyword), Some(name), Some(rest)) = (keyword, name, rest) else {
        return Err(format!("half a description: {line}"));
    };
    if !is_name(name, true) {
        return Err(format!("no name: {name}"));
    }
    if families.last().is_none_or(|family| family.name != name) {
        if families.iter().any(|family| family.name == name) {
            return Err(format!("{name} comes in two parts"));
        }
        let family = Family {
            name: name.into(),
            kind: String::new(),
            unit: None,
            help: String::new(),
            samples: Vec::new(),
        };
        families.push(family);
    }
    let family = families.last_mut().ok_or("no family")?;
    if !family.samples.is_empty() {
        return Err(format!("{keyword} of {name} after its samples"));
    }
    let first = match keyword {
        "TYPE" if ["counter", "gauge", "histogram"].contains(&rest) => {
            std::mem::replace(&mut family.kind, rest.into()).is_empty()
        }
        "UNIT" if is_name(rest, false) => family.unit.replace(rest.into()).is_none(),
        "HELP" if !rest.is_empty() => {
            std::mem::replace(&mut family.help, unescaped(rest)?).is_empty()
        }
        _ => return Err(format!("no description: {line}")),
    };
    if first { Ok(()) } else { Err(format!("{keyword} of {name} twice")) }
}

fn add(sample: Sample, family: &mut Family) -> Result<(), String> {
    if family.kind == "histogram" {
        return add_part(sample, family);
    }
    let wanted = match family.kind.as_str() {
        "counter" => format!("{}_total", family.name),
        "gauge" => family.name.clone(),
        _ => return Err(format!("{} has samples before its TYPE", family.name)),
    };
    if sample.name != wanted {
        return Err(format!("{} in the family {}", sample.name, family.name));
    }
    if family.kind == "counter" && (sample.value.is_nan() || sample.value < 0.0) {
        return Err(format!("{} counts {}", sample.name, sample.value));
    }
    let names =
        |sample: &Sample| sample.labels.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    if let Some(first) = family.samples.first() {
        if names(first) != names(&sample) {
            return Err(format!("{} has two sets of labels", sample.name));
        }
    }
    // An empty label equals a missing one, but all samples have the same names: equal values are
    // equal sets.
    if family.samples.iter().any(|other| other.labels == sample.labels) {
        return Err(format!("{} twice with the labels {:?}", sample.name, sample.labels));
    }
    family.samples.push(sample);
    Ok(())
}

/// Adds a sample of a histogram: buckets with increasing bounds and cumulative counts, then the sum
/// and the count.
fn add_part(sample: Sample, family: &mut Family) -> Result<(), String> {
    let part = sample.name.strip_prefix(family.name.as_str()).unwrap_or_default().to_owned();
    let before = family.samples.last().filter(|last| last.name.ends_with("_bucket"));
    match part.as_str() {
        "_bucket" => {
            let bound = number(sample.label("le").ok_or("a bucket without a bound")?)?;
            if let Some(before) = before {
                let last = number(before.label("le").ok_or("a bucket without a bound")?)?;
                if bound <= last || sample.value < before.value {
                    return Err(format!("{} falls at {bound}", sample.name));
                }
            }
        }
        "_sum" if sample.value >= 0.0 => {
            if before.and_then(|before| before.label("le")) != Some("+Inf") {
                return Err(format!("{} has no last bucket", family.name));
            }
        }
        "_count" => {
            let all = family.samples.iter().rev().find(|other| other.name.ends_with("_bucket"));
            if all.map(|all| all.value) != Some(sample.value) {
                return Err(format!("{} counts {}", sample.name, sample.value));
            }
        }
        _ => return Err(format!("{} in the family {}", sample.name, family.name)),
    }
    family.samples.push(sample);
    Ok(())
}

fn sample(line: &str) -> Result<Sample, String> {
    let end = line.find(['{', ' ']).ok_or_else(|| format!("no value: {line}"))?;
    let (name, mut rest) = line.split_at(end);
    if !is_name(name, true) {
        return Err(format!("no name: {line}"));
    }
    let mut labels: Vec<(String, String)> = Vec::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) =
                rest.split_once("=\"").ok_or_else(|| format!("no label: {line}"))?;
            if !is_name(label, false) || label.starts_with("__") {
                return Err(format!("no label's name: {label}"));
            }
            let bytes = after.as_bytes();
            let mut at = 0;
            while *bytes.get(at).ok_or("a label without an end")? != b'"' {
                at += if bytes[at] == b'\\' { 2 } else { 1 };
            }
            let value = unescaped(&after[..at])?;
            if labels.iter().any(|(other, _)| other == label) {
                return Err(format!("{label} twice: {line}"));
            }
            labels.push((label.into(), value));
            rest = &after[at + 1..];
            match rest.as_bytes().first() {
                Some(b',') => rest = &rest[1..],
                Some(b'}') => break,
                _ => return Err(format!("no end of labels: {line}")),
            }
        }
        rest = &rest[1..];
    }
    let value =
        rest.strip_prefix(' ').ok_or_else(|| format!("no blank before the value: {line}"))?;
    Ok(Sample { name: name.into(), labels, value: number(value)? })
}

fn number(text: &str) -> Result<f64, String> {
    match text {
        "NaN" => return Ok(f64::NAN),
        "+Inf" => return Ok(f64::INFINITY),
        "-Inf" => return Ok(f64::NEG_INFINITY),
        _ => {}
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|_| plain).ok_or_else(|| format!("no number: {text}"))
}

fn is_name(text: &str, colons: bool) -> bool {
    let may = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || (colons && byte == b':');
    text.bytes().all(may) && text.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some(escaped @ ('\\' | '"')) => out.push(escaped),
                other => return Err(format!("no escape: {other:?}")),
            },
            '"' => return Err("a quote without an escape".into()),
            char => out.push(char),
        }
    }
    Ok(out)
}
