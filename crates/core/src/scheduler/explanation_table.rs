//! The table of an explanation.

use core::fmt;

use super::explain::{COLUMNS, Candidate, Explanation, RunnerUp, parts};
use crate::plugins::ScoreExplanation;

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.verdict {
            Ok(endpoint) => writeln!(f, "{} tokens go to {endpoint}", self.prompt_tokens)?,
            Err(rejected) => writeln!(f, "{} tokens are {rejected}", self.prompt_tokens)?,
        }
        match self.candidates.iter().find(|candidate| !candidate.scores.is_empty()) {
            Some(scored) => self.write_scores(f, &scored.scores)?,
            None => self.write_costs(f)?,
        }
        let Some(RunnerUp { endpoint_id, behind, lost_most_in, lost }) = &self.runner_up else {
            return Ok(());
        };
        write!(f, "runner-up: {endpoint_id}, {behind:.4} behind")?;
        match lost_most_in {
            Some(part) => writeln!(f, ", most in {part}: {lost:.4}"),
            None => writeln!(f),
        }
    }
}

impl Explanation {
    /// One column for each term of the cost.
    fn write_costs(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<24} {:>8}", "endpoint", "cached")?;
        for column in COLUMNS {
            write!(f, " {column:>9}")?;
        }
        writeln!(f)?;
        for candidate in &self.candidates {
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
        &self,
        f: &mut fmt::Formatter<'_>,
        scorers: &[ScoreExplanation],
    ) -> fmt::Result {
        write!(f, "{:<24} {:>8}", "endpoint", "cached")?;
        for ScoreExplanation { scorer, .. } in scorers {
            write!(f, " {scorer:>19}")?;
        }
        writeln!(f, " {:>9}", "score")?;
        for candidate in &self.candidates {
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
