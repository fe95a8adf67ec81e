//! The prices of service levels, which every language computes alike.
//!
//! `BLESS=1 cargo test --all-features --test prices_follow_service_levels` updates the expected
//! prices.

use core::time::Duration;
use std::path::Path;
use std::{env, fs};

use serde::{Deserialize, Serialize};
use slotwise::{CostPrices, Scheduler};

#[derive(Deserialize, Serialize)]
struct Row {
    ttft: f64,
    tpot: f64,
    prices: Option<CostPrices>,
}

fn prices(row: &Row) -> CostPrices {
    let [ttft, tpot] = [row.ttft, row.tpot].map(Duration::from_secs_f64);
    CostPrices::for_service_level(ttft, tpot)
}

#[test]
fn each_service_level_has_the_expected_prices() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/prices/service_levels.json");
    let text = fs::read_to_string(&path).expect("readable");
    let mut rows: Vec<Row> = serde_json::from_str(&text).expect("valid");
    if env::var_os("BLESS").is_some() {
        rows.iter_mut().for_each(|row| row.prices = Some(prices(row)));
        let lines = rows.iter().map(|row| serde_json::to_string(row).expect("serializable"));
        let text = format!("[\n  {}\n]\n", lines.collect::<Vec<_>>().join(",\n  "));
        fs::write(path, text).expect("writable");
    }
    for row in rows {
        assert_eq!(row.prices, Some(prices(&row)), "{} s, {} s", row.ttft, row.tpot);
        assert!(Scheduler::builder().prices(prices(&row)).build().is_ok());
    }
}

#[test]
fn a_file_names_a_service_level_and_what_shall_not_follow_from_it() {
    let read = |text: &str| serde_json::from_str::<CostPrices>(text);
    let level = CostPrices::for_service_level(Duration::from_secs(5), Duration::from_millis(50));
    let file = read(r#"{"service_level": {"ttft": 5, "tpot": 0.05}}"#).expect("valid");
    assert_eq!(file, level);
    let file = read(r#"{"service_level": {"ttft": 5, "tpot": 0.05}, "kv": 1, "queue": 3}"#);
    let mut own = level;
    (own.kv, own.queue) = (slotwise::Seconds::new(1.0), 3.0);
    assert_eq!(file.expect("valid"), own);
    assert_eq!(read("{}").expect("valid"), CostPrices::default());
    for wrong in [r#"{"level": 1}"#, r#"{"service_level": {"ttft": -1}}"#, r#"{"kv": "dear"}"#] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
}
