//! The table of an explanation.

use core::fmt;

use super::explain::{COLUMNS, Candidate, Explanation, RunnerUp, StageExplanation, parts};
use crate::plugins::ScoreExplanation;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Ok(endpoint) => writeln!(f, "{} tokens go to {endpoint}", self.prompt_tokens)?,
            Err(rejected) => writeln!(f, "{} tokens are {rejected}", self.prompt_tokens)?,
        }
        write_stage(f, &self.candidates, self.runner_up.as_ref())?;
        for StageExplanation { stage, candidates, runner_up } in &self.stages {
            writeln!(f, "{stage}:")?;
            write_stage(f, candidates, runner_up.as_ref())?;
        }
        Ok(())
    }
}

/// The endpoints for one stage, and the runner-up.
fn write_stage(
    f: &mut fmt::Formatter<'_>,
    candidates: &[Candidate],
    runner_up: Option<&RunnerUp>,
) -> fmt::Result {
    match candidates.iter().find(|candidate| !candidate.scores.is_empty()) {
        Some(scored) => write_scores(f, candidates, &scored.scores)?,
        None => write_costs(f, candidates)?,
    }
    let Some(RunnerUp { endpoint_id, behind, lost_most_in, lost }) = runner_up else {
        return Ok(());
    };
    write!(f, "runner-up: {endpoint_id}, {behind:.4} behind")?;
    match lost_most_in {
        Some(part) => writeln!(f, ", most in {part}: {lost:.4}"),
        None => writeln!(f),
    }
}

/// One column for each term of the cost.
fn write_costs(f: &mut fmt::Formatter<'_>, candidates: &[Candidate]) -> fmt::Result {
    write!(f, "{:<24} {:>8}", "endpoint", "cached")?;
    for column in COLUMNS {
        write!(f, " {column:>9}")?;
    }
    writeln!(f)?;
    for candidate in candidates {
        let Candidate { name, cached_tokens, terms, cost, .. } = candidate;
        write!(f, "{name:<24} {cached_tokens:>8}")?;
        let parts = parts(terms).into_iter().chain([*cost]);
        for (part, column) in parts.zip(COLUMNS) {
            write!(f, " {:>width$.4}", part.get(), width = column.len().max(9))?;
        }
        candidate.write_notes(f)?;
        writeln!(f)?;
    }
    Ok(())
}

/// One column for each scorer: the weighted score, and the raw one in parentheses.
fn write_scores(
    f: &mut fmt::Formatter<'_>,
    candidates: &[Candidate],
    scorers: &[ScoreExplanation],
) -> fmt::Result {
    write!(f, "{:<24} {:>8}", "endpoint", "cached")?;
    for ScoreExplanation { scorer, .. } in scorers {
        write!(f, " {scorer:>19}")?;
    }
    writeln!(f, " {:>9}", "score")?;
    for candidate in candidates {
        let Candidate { name, cached_tokens, scores, score, .. } = candidate;
        write!(f, "{name:<24} {cached_tokens:>8}")?;
        for (at, column) in scorers.iter().enumerate() {
            let width = column.scorer.len().max(19);
            match scores.get(at) {
                Some(ScoreExplanation { weighted, raw, .. }) => {
                    let width = width.saturating_sub(11);
                    write!(f, " {weighted:>width$.4} ({raw:>8.4})")?;
                }
                None => write!(f, " {:>width$}", "-")?,
            }
        }
        match score {
            Some(score) => write!(f, " {score:>9.4}")?,
            None => write!(f, " {:>9}", "-")?,
        }
        candidate.write_notes(f)?;
        writeln!(f)?;
    }
    Ok(())
}

impl Candidate {
    /// Why the endpoint is excluded, and why its KV events are not used.
    fn write_notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { excluded, backoff, backoff_remaining, kv_refusal, filtered_by, .. } = self;
        match (excluded, backoff, filtered_by) {
            (_, _, Some(filter)) => write!(f, "  (removed by {filter})")?,
            (Some(why), Some(cause), None) => {
                let (cause, left) = (cause.code(), backoff_remaining.get());
                write!(f, "  ({why}: {cause}, {left:.1} s left)")?;
            }
            (Some(why), None, None) => write!(f, "  ({why})")?,
            (None, _, None) => {}
        }
        match kv_refusal {
            Some(why) => write!(f, "  (KV events refused: {why})"),
            None => Ok(()),
        }
    }
}
