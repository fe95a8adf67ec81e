//! How the engine uses its prefix cache for a request.
//!
//! | field of the body | effect in the engine | source |
//! |---|---|---|
//! | `prompt_logprobs` | no lookup | vLLM |
//! | `echo` with `logprobs` (chat: `top_logprobs`) | no lookup | vLLM |
//! | `skip_reading_prefix_cache` | no lookup | vLLM `SamplingParams` |
//! | `truncate_prompt_tokens` | a different prompt | vLLM |
//! | `return_logprob` with `logprob_start_len` from 0 on | lookup up to there | SGLang |
//! | `cache_prompt: false`, `use_cache: false` | no lookup | llama.cpp and others |
//! | many prompts, `n`, `best_of`, `use_beam_search` | reports one, or a sum | vLLM, SGLang |
//! | images, sounds, files, embeddings | counts tokens beyond the text | all |
//! | `previous_response_id`, `thread` | a prompt beyond the body | Responses, Messages |

use slotwise::CacheUse;

use super::api::Api;
use super::lenient;
use crate::error::WireError;
use crate::json::{Kind, Reader};

type Result<T> = core::result::Result<T, WireError>;

/// The fields that affect the engine's cache.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CacheFlags {
    prompt_logprobs: bool,
    echo: bool,
    logprobs: bool,
    top_logprobs: bool,
    /// The number of tokens to which the prompt is truncated.
    truncate: Option<i64>,
    return_logprob: bool,
    logprob_start: bool,
    skips: bool,
    cache_prompt_off: bool,
    use_cache_off: bool,
    several: [bool; 2],
    pub(super) embeds: bool,
}

impl CacheFlags {
    /// Reads the value if `key` is one of these fields, and returns whether it is.
    pub(super) fn read(&mut self, key: &str, reader: &mut Reader<'_>) -> Result<bool> {
        match key {
            "prompt_logprobs" => self.prompt_logprobs = given(reader)?,
            "echo" => self.echo = says(reader, "true")?,
            "logprobs" => self.logprobs = given(reader)?,
            "top_logprobs" => self.top_logprobs = given(reader)?,
            "truncate_prompt_tokens" => self.truncate = number(reader)?,
            "return_logprob" => self.return_logprob = any_true(reader)?,
            "logprob_start_len" => self.logprob_start = any_from_0(reader)?,
            "skip_reading_prefix_cache" => self.skips = says(reader, "true")?,
            "cache_prompt" => self.cache_prompt_off = says(reader, "false")?,
            "use_cache" => self.use_cache_off = says(reader, "false")?,
            "best_of" => self.several[0] = number(reader)?.is_some_and(|number| number > 1),
            "use_beam_search" => self.several[1] = says(reader, "true")?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// How the engine uses its cache for a prompt of `tokens`, if the number is known.
    pub(super) fn cache_use(&self, api: Api, tokens: Option<usize>, elsewhere: bool) -> CacheUse {
        let kept = |most: i64| most > 0 && tokens.is_none_or(|tokens| tokens as u64 > most as u64);
        let echoes = match api {
            Api::Completions => self.echo && self.logprobs,
            Api::ChatCompletions => self.echo && self.top_logprobs,
            _ => false,
        };
        if self.prompt_logprobs
            || echoes
            || self.skips
            || self.cache_prompt_off
            || self.use_cache_off
            || (self.return_logprob && self.logprob_start)
            || self.truncate.is_some_and(kept)
        {
            CacheUse::Unread
        } else if elsewhere || self.embeds || self.several.contains(&true) {
            CacheUse::Unreported
        } else {
            CacheUse::Read
        }
    }

    /// The maximum number of prompt tokens that the engine keeps.
    pub(super) fn kept_tokens(&self) -> Option<usize> {
        self.truncate.filter(|most| *most > 0).and_then(|most| usize::try_from(most).ok())
    }
}

/// Whether the value is neither `null` nor `false`.
fn given(reader: &mut Reader<'_>) -> Result<bool> {
    reader.kind()?;
    Ok(!matches!(reader.skip()?, "null" | "false"))
}

/// Whether the value is this flag.
fn says(reader: &mut Reader<'_>, word: &str) -> Result<bool> {
    reader.kind()?;
    let json = reader.skip()?.trim_matches('"');
    let digit = if word == "true" { "1" } else { "0" };
    Ok(json.eq_ignore_ascii_case(word) || json == digit)
}

/// Reads a number as an integer; `None` for other types.
fn number(reader: &mut Reader<'_>) -> Result<Option<i64>> {
    if reader.kind()? == Kind::Number {
        let number = reader.number()?.float();
        return Ok(Some(number as i64));
    }
    reader.skip()?;
    Ok(None)
}

fn any_true(reader: &mut Reader<'_>) -> Result<bool> {
    any(reader, |reader| says(reader, "true"))
}

fn any_from_0(reader: &mut Reader<'_>) -> Result<bool> {
    any(reader, |reader| Ok(number(reader)?.is_some_and(|number| number >= 0)))
}

/// Whether the value, or any item of an array, satisfies `says`.
fn any(
    reader: &mut Reader<'_>,
    mut says: impl FnMut(&mut Reader<'_>) -> Result<bool>,
) -> Result<bool> {
    if reader.kind()? != Kind::Array {
        return says(reader);
    }
    let mut found = false;
    if lenient::array(reader, "an array")? {
        while reader.next_item()? {
            found |= says(reader)?;
        }
    }
    Ok(found)
}
