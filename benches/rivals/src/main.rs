//! Runs the groups, prints their tables and writes the record.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use slotwise_rivals::groups;
use slotwise_rivals::race::Effort;
use slotwise_rivals::rivals;
use slotwise_rivals::table::Table;

/// What the command line asked for.
#[derive(Default)]
struct Arguments {
    quick: bool,
    only: Option<String>,
    trace: Option<PathBuf>,
    json: Option<PathBuf>,
    date: Option<String>,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
            match word.as_str() {
                "--quick" => arguments.quick = true,
                "--only" => arguments.only = Some(value()?),
                "--trace" => arguments.trace = Some(value()?.into()),
                "--json" => arguments.json = Some(value()?.into()),
                "--date" => arguments.date = Some(value()?),
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        let known = |only: &String| groups::ALL.iter().any(|(name, _)| name == only);
        match arguments.only.as_ref().filter(|only| !known(only)) {
            Some(unknown) => {
                let names: Vec<_> = groups::ALL.iter().map(|(name, _)| *name).collect();
                Err(format!("no group {unknown}; there are {}", names.join(", ")))
            }
            None => Ok(arguments),
        }
    }
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!(
                "{error}\nusage: rivals [--quick] [--only GROUP] [--trace FILE] [--json FILE] [--date DATE]"
            );
            return ExitCode::FAILURE;
        }
    };
    let effort = if arguments.quick { Effort::QUICK } else { Effort::FULL };
    let start = Instant::now();
    let mut tables = Vec::new();
    for (name, run) in groups::ALL {
        if arguments.only.as_ref().is_none_or(|only| only == name) {
            eprintln!("{name}, after {:.0} s", start.elapsed().as_secs_f64());
            run(&effort, arguments.trace.as_deref(), &mut |table| {
                println!("{}", table.text());
                tables.push(table);
            });
        }
    }
    eprintln!("done after {:.0} s", start.elapsed().as_secs_f64());
    match arguments.json.as_ref().map(|path| std::fs::write(path, record(&arguments, &tables))) {
        Some(Err(error)) => {
            eprintln!("the record was not written: {error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// The record: where, when, what, and the tables.
fn record(arguments: &Arguments, tables: &[Table]) -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let record = serde_json::json!({
        "machine": {
            "cpu": model.and_then(|line| line.split(": ").nth(1)),
            "cores": std::thread::available_parallelism().map(usize::from).ok(),
        },
        "date": arguments.date,
        "quick": arguments.quick,
        "versions": rivals::versions().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "tables": tables,
    });
    let mut text = serde_json::to_string_pretty(&record).expect("invariant: tables are plain data");
    text.push('\n');
    text
}
