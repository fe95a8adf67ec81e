//! Files as text, lines and JSON documents, with errors that name the file and the line.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use serde_json::Value;

/// An error in a trace file, with its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TraceError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; none when the file as a whole is wrong.
    pub line: Option<usize>,
    /// What is wrong. The text contains no line number.
    pub reason: String,
}

impl TraceError {
    /// The error of a line.
    pub(super) fn at(file: &Path, line: usize, reason: impl fmt::Display) -> Self {
        Self { file: file.into(), line: Some(line), reason: reason.to_string() }
    }

    /// The error of the whole file.
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

/// A file and its text.
pub(super) struct Source {
    pub(super) file: Arc<Path>,
    pub(super) text: String,
}

/// A JSON value, and where it begins.
pub(super) struct Document {
    pub(super) file: Arc<Path>,
    pub(super) line: usize,
    pub(super) value: Value,
}

/// The file, or the JSON files of a folder in order of their names, unpacked where gzipped.
pub(super) fn sources(path: &Path) -> Result<Vec<Source>, TraceError> {
    let files = if path.is_dir() { folder(path)? } else { vec![path.to_owned()] };
    files.iter().map(|file| source(file)).collect()
}

fn folder(path: &Path) -> Result<Vec<PathBuf>, TraceError> {
    let unreadable = |error: io::Error| TraceError::whole(path, error);
    let entries = std::fs::read_dir(path).map_err(unreadable)?;
    let files: Result<Vec<PathBuf>, _> = entries.map(|entry| Ok(entry?.path())).collect();
    let mut files = files.map_err(unreadable)?;
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(".gz").unwrap_or(&name);
        name.ends_with(".json") || name.ends_with(".jsonl")
    });
    files.sort();
    if files.is_empty() {
        return Err(TraceError::whole(path, "the folder has no .json or .jsonl file"));
    }
    Ok(files)
}

fn source(file: &Path) -> Result<Source, TraceError> {
    let text = read(file).map_err(|error| TraceError::whole(file, error))?;
    if text.trim().is_empty() {
        return Err(TraceError::whole(file, "the file is empty"));
    }
    Ok(Source { file: file.into(), text })
}

/// The file's text, unpacked if it is gzipped, without a byte order mark.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut unpacked = Vec::new();
        MultiGzDecoder::new(&*bytes).read_to_end(&mut unpacked)?;
        bytes = unpacked;
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

/// The source's JSON values: one a line, or values that go over several lines.
///
/// A file whose first line is a whole value has one a line, so that an unfinished line is named
/// itself and not the next.
pub(super) fn documents(source: &Source) -> Result<Vec<Document>, TraceError> {
    let file = &source.file;
    let mut lines =
        (1..).zip(source.text.lines()).filter(|(_, line)| !line.trim().is_empty()).peekable();
    let by_line = lines.peek().is_some_and(|(_, line)| serde_json::from_str::<Value>(line).is_ok());
    if by_line {
        let parse = |(line, text): (usize, &str)| match serde_json::from_str(text) {
            Ok(value) => Ok(Document { file: file.clone(), line, value }),
            Err(error) => Err(TraceError::at(file, line, json(&error))),
        };
        return lines.map(parse).collect();
    }
    let mut documents = Vec::new();
    let mut values = serde_json::Deserializer::from_str(&source.text).into_iter::<Value>();
    let (mut counted, mut line) = (0, 1);
    loop {
        let rest = &source.text[values.byte_offset()..];
        let begins = source.text.len() - rest.trim_start().len();
        line += source.text[counted..begins].matches('\n').count();
        counted = begins;
        match values.next() {
            None => return Ok(documents),
            Some(Ok(value)) => documents.push(Document { file: file.clone(), line, value }),
            Some(Err(error)) => {
                return Err(TraceError::at(file, error.line().max(1), json(&error)));
            }
        }
    }
}

/// The source's first JSON value.
pub(super) fn first(source: &Source) -> Result<Value, TraceError> {
    match serde_json::Deserializer::from_str(&source.text).into_iter().next() {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(TraceError::at(&source.file, error.line().max(1), json(&error))),
        None => Err(TraceError::whole(&source.file, "the file is empty")),
    }
}

/// What is wrong with a piece of JSON, without the line that its parser counts.
pub(super) fn json(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((reason, _)) => format!("{reason} (column {})", error.column()),
        None => text,
    }
}

/// A line of a CSV file with these of its columns.
type Row<const N: usize> = Result<(usize, [String; N]), TraceError>;

/// The lines of a CSV file, each with its number and the columns of these names.
pub(super) fn rows<const N: usize>(
    source: &Source,
    names: [&str; N],
) -> Result<impl Iterator<Item = Row<N>>, TraceError> {
    let file = &source.file;
    let mut reader = csv::ReaderBuilder::new().from_reader(source.text.as_bytes());
    let headers = reader.headers().map_err(|error| csv_error(file, &error))?.clone();
    let mut columns = [0; N];
    for (column, name) in columns.iter_mut().zip(names) {
        let found = headers.iter().position(|header| header.trim().eq_ignore_ascii_case(name));
        *column =
            found.ok_or_else(|| TraceError::at(file, 1, format!("there is no column {name}")))?;
    }
    Ok(reader.into_records().map(move |record| {
        let record = record.map_err(|error| csv_error(file, &error))?;
        let line = record.position().map_or(1, |place| place.line() as usize);
        Ok((line, columns.map(|at| record.get(at).unwrap_or("").trim().to_owned())))
    }))
}

/// What is wrong with a CSV file, and in which of its lines.
pub(crate) fn csv_error(file: &Path, error: &csv::Error) -> TraceError {
    let line = error.position().map_or(1, |place| place.line() as usize);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => TraceError::at(
            file,
            line,
            format!("the line has {len} columns, the header {expected_len}"),
        ),
        _ => TraceError::at(file, line, "the line is no CSV"),
    }
}

/// Tokens of a CSV file.
pub(super) fn tokens(file: &Path, line: usize, text: &str) -> Result<u32, TraceError> {
    text.parse()
        .map_err(|error| TraceError::at(file, line, format!("{text:?} is no token count: {error}")))
}

/// A time in seconds that can be one.
pub(super) fn seconds(path: &Path, line: usize, name: &str, value: f64) -> Result<f64, TraceError> {
    if value.is_finite() && (0.0..1e9).contains(&value) {
        Ok(value)
    } else {
        Err(TraceError::at(path, line, format!("{name} is {value}, not a time")))
    }
}

/// The error for a prompt with fewer block ids than full blocks.
pub(super) fn enough_blocks(
    path: &Path,
    line: usize,
    input: u32,
    full: usize,
    ids: usize,
) -> Result<(), TraceError> {
    if ids < full {
        let reason = format!(
            "a prompt of {input} tokens has {full} full blocks, but there are {ids} block ids"
        );
        return Err(TraceError::at(path, line, reason));
    }
    Ok(())
}

/// A prompt length that can be one.
pub(super) fn input(path: &Path, line: usize, tokens: u32) -> Result<u32, TraceError> {
    if tokens == 0 {
        Err(TraceError::at(path, line, "the prompt has no tokens"))
    } else {
        Ok(tokens)
    }
}
