//! The prices of replicas, from a file of the user. None is built in.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use toml::Spanned;

use crate::replica::CLASSES;

/// What an hour of each class costs.
///
/// ```
/// use slotwise_sim::prices::Prices;
///
/// let prices = Prices::parse(
///     r#"
///     currency = "EUR"
///
///     [per_replica_hour]
///     llama-8b-l4 = 0.7
///     "#,
/// )?;
/// assert_eq!(prices.per_replica_hour["llama-8b-l4"], 0.7);
///
/// let wrong = Prices::parse("currency = 'EUR'\nper_replica_hour.llama-9b = 1");
/// let error = wrong.unwrap_err().to_string();
/// assert!(error.starts_with("line 2: no class is called \"llama-9b\""));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prices {
    /// The currency, as it is printed.
    pub currency: String,
    /// The price of an hour of one replica with all its accelerators, by class.
    pub per_replica_hour: BTreeMap<String, f64>,
}

/// The file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PriceFile {
    currency: String,
    per_replica_hour: BTreeMap<String, Spanned<f64>>,
}

impl Prices {
    /// Reads the prices of a TOML file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or those of [`parse`](Self::parse), with the file's name.
    pub fn read(path: &Path) -> Result<Self> {
        let file = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {file}"))?;
        Self::parse(&text).with_context(|| format!("{file}"))
    }

    /// Reads prices as TOML.
    ///
    /// # Errors
    ///
    /// When the text is no TOML, has other fields, names an unknown class, or has a price that is
    /// no number from 0 on. The error names the line.
    pub fn parse(text: &str) -> Result<Self> {
        let line =
            |at: usize| text.as_bytes().iter().take(at).filter(|it| **it == b'\n').count() + 1;
        let prices: PriceFile = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line(span.start));
            anyhow::anyhow!("line {line}: {}; {EXAMPLE}", error.message())
        })?;
        for (class, price) in &prices.per_replica_hour {
            let line = line(price.span().start);
            let known = CLASSES.iter().any(|known| known.name == class) || class == "measured";
            ensure!(known, "line {line}: no class is called {class:?}; see slotwise-sim list");
            ensure!(
                price.get_ref().is_finite() && *price.get_ref() >= 0.0,
                "line {line}: the price of {class} is {}, expected a number from 0 on",
                price.get_ref()
            );
        }
        let per_replica_hour = prices
            .per_replica_hour
            .into_iter()
            .map(|(class, price)| (class, price.into_inner()))
            .collect();
        Ok(Self { currency: prices.currency, per_replica_hour })
    }
}

const EXAMPLE: &str = "expected `currency` and a table `per_replica_hour` of prices by class";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_line_and_the_expectation() {
        for (text, wanted) in [
            ("", "line 1: missing field `currency`"),
            ("currency = 'EUR'", "line 1: missing field `per_replica_hour`"),
            ("currency = 'EUR'\n\ncurency = 1", "line 3: unknown field `curency`"),
            ("currency = 'EUR'\n[per_replica_hour]\nllama-8b-l4 = 'a'", "line 3: invalid type"),
            ("currency = 'EUR'\n[per_replica_hour]\nllama-8b-l4 = -1", "line 3: the price of"),
            ("currency = 'EUR'\n[per_replica_hour]\nllama-8b-l4 = nan", "line 3: the price of"),
            ("currency = 'EUR'\n[per_replica_hour\n", "line 2: "),
            ("{\"currency\": \"EUR\"}", "line 1: "),
        ] {
            let error = Prices::parse(text).expect_err(wanted).to_string();
            assert!(error.starts_with(wanted), "{text:?}: {error}");
        }
        let prices = "currency = 'EUR'\n[per_replica_hour]\nmeasured = 2 # whole numbers too";
        let prices = Prices::parse(prices).expect("valid");
        assert!((prices.per_replica_hour["measured"] - 2.0).abs() < 1e-12);
    }
}
