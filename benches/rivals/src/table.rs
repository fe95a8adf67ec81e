//! The tables: on stdout for people, as JSON for the record.

use std::fmt::Write as _;

use serde::Serialize;

/// What a contestant got in a row.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// A measurement, in the table's unit.
    Measured {
        /// The median, or the value where there is only one.
        median: f64,
        /// The 99th percentile, where there are samples.
        #[serde(skip_serializing_if = "Option::is_none")]
        p99: Option<f64>,
        /// How many samples.
        samples: usize,
    },
    /// Nothing, and why.
    Absent(String),
}

impl Cell {
    /// A single value.
    pub const fn value(value: f64) -> Self {
        Self::Measured { median: value, p99: None, samples: 1 }
    }

    const fn median(&self) -> Option<f64> {
        match self {
            Self::Measured { median, .. } => Some(*median),
            Self::Absent(_) => None,
        }
    }
}

/// What is best in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Best {
    /// The lowest value.
    Lowest,
    /// The highest value.
    Highest,
    /// There is nothing to win.
    None,
}

/// One row: the contestants' cells in the table's order.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was done.
    pub name: String,
    /// What is best here.
    pub best: Best,
    /// What each contestant got.
    pub cells: Vec<Cell>,
}

/// One table of one group.
#[derive(Clone, Debug, Serialize)]
pub struct Table {
    /// The group, as `--only` takes it.
    pub group: &'static str,
    /// What it shows, with its unit.
    pub title: String,
    /// Ours first.
    pub contestants: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
    /// What a reader must know beside the numbers.
    pub notes: Vec<String>,
}

impl Table {
    /// A table without rows.
    pub fn new<S: Into<String>>(
        group: &'static str,
        title: impl Into<String>,
        contestants: impl IntoIterator<Item = S>,
    ) -> Self {
        let contestants = contestants.into_iter().map(Into::into).collect();
        Self { group, title: title.into(), contestants, rows: Vec::new(), notes: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, name: impl Into<String>, best: Best, cells: Vec<Cell>) {
        let name = name.into();
        eprintln!("  {}: {name}", self.group);
        self.rows.push(Row { name, best, cells });
    }

    /// Adds a note, unless it is there.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// The table as text. A cell is `median/p99 ratio`, the ratio being to ours; the best of a row
    /// has a star.
    pub fn text(&self) -> String {
        let mut notes = self.notes.clone();
        let mut lines =
            vec![std::iter::once(String::new()).chain(self.contestants.iter().cloned()).collect()];
        for row in &self.rows {
            let medians: Vec<_> = row.cells.iter().map(Cell::median).collect();
            let measured = || medians.iter().flatten().copied();
            let best = match row.best {
                Best::Lowest => measured().min_by(f64::total_cmp),
                Best::Highest => measured().max_by(f64::total_cmp),
                Best::None => None,
            };
            let mut line = vec![row.name.clone()];
            for (cell, name) in row.cells.iter().zip(&self.contestants) {
                let text = match cell {
                    Cell::Absent(why) => {
                        let note = format!("{name}: {why}");
                        if !why.is_empty() && !notes.contains(&note) {
                            notes.push(note);
                        }
                        "-".to_owned()
                    }
                    Cell::Measured { median, p99, .. } => {
                        let star = if best == Some(*median) { "*" } else { "" };
                        let p99 = p99.map_or_else(String::new, |p99| format!("/{}", short(p99)));
                        let ratio = match medians[0] {
                            Some(ours) if line.len() > 1 && row.best != Best::None && ours > 0.0 => {
                                format!(" {}x", short(*median / ours))
                            }
                            _ => String::new(),
                        };
                        format!("{star}{}{p99}{ratio}", short(*median))
                    }
                };
                line.push(text);
            }
            lines.push(line);
        }
        let widths: Vec<usize> = (0..=self.contestants.len())
            .map(|column| {
                lines.iter().filter_map(|line| line.get(column)).map(String::len).max().unwrap_or(0)
            })
            .collect();
        let mut text = format!("\n[{}] {}\n", self.group, self.title);
        for line in &lines {
            for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
                let _ = if column == 0 {
                    write!(text, "{cell:<width$}")
                } else {
                    write!(text, "  {cell:>width$}")
                };
            }
            text.push('\n');
        }
        for note in &notes {
            let _ = writeln!(text, "  note: {note}");
        }
        text
    }
}

/// Three digits, and a letter for thousands and millions.
fn short(value: f64) -> String {
    let (value, letter) = match value.abs() {
        large if large >= 999_500.0 => (value / 1e6, "M"),
        middle if middle >= 9_999.5 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    match value.abs() {
        0.0 => "0".to_owned(),
        large if large >= 99.95 => format!("{value:.0}{letter}"),
        middle if middle >= 9.995 => format!("{value:.1}{letter}"),
        _ => format!("{value:.2}{letter}"),
    }
}
