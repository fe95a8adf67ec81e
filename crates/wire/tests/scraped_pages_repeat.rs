//! A reader that remembers layouts returns what one without a memory returns, for any pages in any
//! order.

use proptest::prelude::*;
use slotwise_wire::metrics::{Engine, Field, MetricsReader, ScrapeReader};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("fixtures/vllm-0.32/default/metrics/", $name))
    };
}

const IDLE: &str = fixture!("metrics_idle.txt");
const UNDER_LOAD: &str = fixture!("metrics_under_load.txt");
const AFTER_LOAD: &str = fixture!("metrics_after_load.txt");

/// What happens to a page between two scrapes.
#[derive(Clone, Debug)]
enum Change {
    /// The value of a line becomes another.
    Value(usize, String),
    /// Lines disappear.
    Remove(usize, usize),
    /// Lines occur once more, at another place.
    Copy(usize, usize, usize),
    /// The second half of the lines from here on comes first.
    Turn(usize, usize),
    /// A byte becomes another.
    Byte(usize, u8),
    /// The page ends here.
    Cut(usize),
    /// A text stands at the begin of a line.
    Insert(usize, &'static str),
    /// A text is replaced wherever it occurs.
    Replace(&'static str, &'static str),
}

impl Change {
    fn apply(&self, page: &mut Vec<u8>) {
        let mut lines: Vec<Vec<u8>> =
            page.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if lines.is_empty() {
            return;
        }
        let count = lines.len();
        let range = |from: usize, length: usize| {
            let from = from % count;
            from..(from + length).min(count)
        };
        match self {
            Self::Value(at, value) => {
                let line = &mut lines[at % count];
                if let Some(blank) = line.iter().rposition(|byte| *byte == b' ') {
                    line.truncate(blank + 1);
                    line.extend_from_slice(value.as_bytes());
                    line.push(b'\n');
                }
            }
            Self::Remove(from, length) => drop(lines.drain(range(*from, *length))),
            Self::Copy(from, length, to) => {
                let copied = lines[range(*from, *length)].to_vec();
                let to = to % (count + 1);
                lines.splice(to..to, copied);
            }
            Self::Turn(from, length) => {
                let turned = &mut lines[range(*from, *length)];
                let half = turned.len() / 2;
                turned.rotate_left(half);
            }
            Self::Insert(at, text) => lines.insert(at % (count + 1), text.as_bytes().to_vec()),
            Self::Byte(at, byte) => {
                let at = at % page.len();
                page[at] = *byte;
                return;
            }
            Self::Cut(at) => {
                page.truncate(at % (page.len() + 1));
                return;
            }
            Self::Replace(from, to) => {
                let text = String::from_utf8_lossy(page).replace(from, to);
                *page = text.into_bytes();
                return;
            }
        }
        *page = lines.concat();
    }
}

fn change() -> impl Strategy<Value = Change> {
    let value = prop_oneof![
        4 => (0..2_000_u32).prop_map(|number| format!("{number}.0")),
        1 => any::<f64>().prop_map(|number| format!("{number:e}")),
        1 => prop::sample::select(vec![
            "NaN", "+Inf", "", "x-", "1 2", "1\r", "1 ", "1 # {a=\"b\"} 2", "{", "é", "1\n2",
        ]).prop_map(String::from),
    ];
    let at = any::<usize>;
    // Wanted lines stand among the first hundred.
    let line = || prop_oneof![any::<usize>(), 40..80_usize];
    let text = prop::sample::select(vec![
        "\n",
        "\r\n",
        " \n",
        "# a comment\n",
        " # a comment\n",
        "{} 1\n",
        "malformed\n",
        "other{a=\"}\"} 1\n",
        "other{a=\"b\"} 1 170 # {} 1\n",
        " vllm:num_requests_waiting 5\n",
        "vllm:num_requests_waiting{engine=\"1\"} 5\n",
        "vllm:num_requests_waiting_other{engine=\"1\"} 5\n",
        "vllm:num_requests_running oops\n",
    ]);
    let replaced = prop::sample::select(vec![
        ("tiny", "small"),
        ("engine=\"0\"", "engine=\"1\""),
        ("\n", "\r\n"),
        ("\r\n", "\n"),
        (" ", "\t"),
        ("vllm:", "ray_vllm:"),
        ("_bucket", ""),
        ("# HELP", ""),
        ("{", " {"),
    ]);
    prop_oneof![
        6 => (line(), value).prop_map(|(at, value)| Change::Value(at, value)),
        2 => (line(), 1..80_usize).prop_map(|(from, length)| Change::Remove(from, length)),
        2 => (line(), 1..80_usize, line())
            .prop_map(|(from, length, to)| Change::Copy(from, length, to)),
        1 => (line(), 2..80_usize).prop_map(|(from, length)| Change::Turn(from, length)),
        2 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        1 => at().prop_map(Change::Cut),
        4 => (line(), text).prop_map(|(at, text)| Change::Insert(at, text)),
        1 => replaced.prop_map(|(from, to)| Change::Replace(from, to)),
    ]
}

/// A captured page, all of it or some of its lines, after some changes. So several changes of a
/// short page hit lines that count.
fn page() -> impl Strategy<Value = Vec<u8>> {
    let captured = prop::sample::select(vec![IDLE, UNDER_LOAD, UNDER_LOAD, AFTER_LOAD]);
    let length = prop_oneof![Just(usize::MAX), 1..60_usize];
    (captured, length, prop::collection::vec(change(), 0..6)).prop_map(
        |(captured, length, changes)| {
            let mut page: Vec<u8> = captured
                .split_inclusive('\n')
                .skip(if length == usize::MAX { 0 } else { 50 })
                .take(length)
                .flat_map(str::bytes)
                .collect();
            changes.iter().for_each(|change| change.apply(&mut page));
            page
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_memory_changes_no_result(
        pages in prop::collection::vec(page(), 1..8),
        repeats in prop::collection::vec((any::<prop::sample::Index>(), change()), 0..24),
    ) {
        let plain = [
            MetricsReader::of(Engine::Vllm),
            MetricsReader::detect(),
            MetricsReader::custom()
                .field(Field::Waiting, "vllm:num_requests_waiting".parse().expect("a metric"))
                .field(Field::Running, "http_requests_total{method=GET}".parse().expect("a metric")),
        ];
        let mut readers = plain.clone().map(ScrapeReader::new);
        let mut pages = pages;
        let mut read = |page: &[u8]| {
            for (reader, plain) in readers.iter_mut().zip(&plain) {
                prop_assert_eq!(reader.read(page), plain.read(page));
                prop_assert_eq!(reader.read_load(page), plain.read_load(page));
                prop_assert!(reader.allocated() <= ScrapeReader::MOST_BYTES);
            }
            Ok(())
        };
        for page in &pages {
            read(page)?;
        }
        for (page, change) in repeats {
            let page = page.get_mut(&mut pages);
            change.apply(page);
            read(page)?;
        }
    }

    #[test]
    fn any_bytes_have_the_same_result(
        pages in prop::collection::vec("[a{ }\"=1.#\n\r\t]{0,24}", 1..24),
    ) {
        let plain = MetricsReader::custom().field(Field::Waiting, "a{a=a}".parse().expect("valid"));
        let mut reader = ScrapeReader::new(plain.clone());
        for page in &pages {
            prop_assert_eq!(reader.read(page.as_bytes()), plain.read(page.as_bytes()));
        }
    }
}

fn of_model(model: usize) -> String {
    UNDER_LOAD.replace("model_name=\"tiny\"", &format!("model_name=\"model-{model}\""))
}

#[test]
fn a_layout_is_learned_once() {
    let mut reader = ScrapeReader::new(MetricsReader::detect());
    assert_eq!(reader.allocated(), 0);
    reader.read(UNDER_LOAD.as_bytes()).expect("well-formed");
    let learned = reader.allocated();
    assert!((40_000..70_000).contains(&learned), "{learned}");
    for page in [AFTER_LOAD, UNDER_LOAD, &UNDER_LOAD.replace(" 0.0\n", " 17.25\n")] {
        reader.read(page.as_bytes()).expect("well-formed");
        assert_eq!(reader.allocated(), learned);
    }
}

#[test]
fn the_memory_is_bounded_and_learns_seldom() {
    let mut reader = ScrapeReader::new(MetricsReader::of(Engine::Vllm));
    let mut changes = 0;
    for round in 0..640 {
        let before = reader.allocated();
        // Pages of different lengths, so each lesson shows in the memory.
        let page = of_model(10_usize.pow(round % 16));
        reader.read(page.as_bytes()).expect("well-formed");
        assert!(reader.allocated() <= ScrapeReader::MOST_BYTES);
        changes += usize::from(reader.allocated() != before);
    }
    assert!((8..=8 + 640 / 16).contains(&changes), "{changes}");

    let large = UNDER_LOAD.repeat(12);
    let mut reader = ScrapeReader::new(MetricsReader::detect());
    reader.read(large.as_bytes()).expect("well-formed");
    assert_eq!(reader.allocated(), 0);
}
