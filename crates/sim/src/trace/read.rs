//! Files into lines, and lines into errors that say where they are.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;

use super::Format;

/// What is wrong with a trace file, and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; none when the file as a whole is wrong.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl TraceError {
    /// A line makes no sense.
    pub(super) fn at(file: &Path, line: usize, reason: impl fmt::Display) -> Self {
        Self { file: file.into(), line: Some(line), reason: reason.to_string() }
    }

    /// The file makes no sense.
    pub(super) fn whole(file: &Path, reason: impl fmt::Display) -> Self {
        Self { file: file.into(), line: None, reason: reason.to_string() }
    }
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file.display(), self.reason),
            None => write!(f, "{}: {}", self.file.display(), self.reason),
        }
    }
}

impl std::error::Error for TraceError {}

/// The file's lines, unpacked if it is gzipped. Blank lines stay, so that numbers are right.
pub(super) fn lines(path: &Path) -> Result<Vec<String>, TraceError> {
    let text = read(path).map_err(|error| TraceError::whole(path, error))?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.iter().all(|line| line.trim().is_empty()) {
        return Err(TraceError::whole(path, "the file is empty"));
    }
    Ok(lines)
}

/// The file's text, unpacked if it is gzipped.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(&*bytes).read_to_end(&mut unpacked)?;
        bytes = unpacked;
    }
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// Tells the format from the first line.
pub(super) fn guess(path: &Path, lines: &[String]) -> Result<Format, TraceError> {
    let first = lines.iter().find(|line| !line.trim().is_empty()).map_or("", |line| line.trim());
    if first.to_ascii_uppercase().starts_with("TIMESTAMP,") {
        return Ok(Format::Azure);
    }
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(first)
        .map_err(|_| TraceError::at(path, 1, "neither CSV with a TIMESTAMP header nor a JSON object"))?;
    let has = |name: &str| fields.contains_key(name);
    if has("chat_id") && has("hash_ids") {
        Ok(Format::Bailian)
    } else if has("timestamp") && has("input_length") {
        Ok(Format::Mooncake)
    } else if has("r") && has("bs") {
        Ok(Format::ClaudeCode)
    } else {
        Err(TraceError::at(path, 1, "its fields are of no known format; name one with --format"))
    }
}

/// Each non-blank line as JSON, with its number.
pub(super) fn json_lines<T: DeserializeOwned>(
    path: &Path,
    lines: &[String],
) -> Result<Vec<(usize, T)>, TraceError> {
    let parse = |(number, line): (usize, &String)| match serde_json::from_str(line) {
        Ok(value) => Ok((number, value)),
        Err(error) => Err(TraceError::at(path, number, error)),
    };
    (1..).zip(lines).filter(|(_, line)| !line.trim().is_empty()).map(parse).collect()
}

/// A time in seconds that can be one.
pub(super) fn seconds(path: &Path, line: usize, name: &str, value: f64) -> Result<f64, TraceError> {
    if value.is_finite() && (0.0..1e9).contains(&value) {
        Ok(value)
    } else {
        Err(TraceError::at(path, line, format!("{name} is {value}, not a time")))
    }
}

/// Says that a prompt has fewer block ids than it has full blocks.
pub(super) fn enough_blocks(
    path: &Path,
    line: usize,
    input: u32,
    full: usize,
    ids: usize,
) -> Result<(), TraceError> {
    if ids < full {
        let reason =
            format!("a prompt of {input} tokens has {full} full blocks, but there are {ids} block ids");
        return Err(TraceError::at(path, line, reason));
    }
    Ok(())
}

/// A prompt length that can be one.
pub(super) fn input(path: &Path, line: usize, tokens: u32) -> Result<u32, TraceError> {
    if tokens == 0 { Err(TraceError::at(path, line, "the prompt has no tokens")) } else { Ok(tokens) }
}
