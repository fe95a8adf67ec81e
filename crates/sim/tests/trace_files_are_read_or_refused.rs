//! Each format is read, plain and gzipped, and told from its first line; a bad line is named.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use slotwise_sim::trace::{Arrivals, Format, Trace};

const MOONCAKE: &str = r#"{"timestamp": 0, "input_length": 1100, "output_length": 5, "hash_ids": [0, 1, 2]}
{"timestamp": 3000, "input_length": 600, "output_length": 7, "hash_ids": [0, 9]}
"#;
const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:16:01.1805900,396,109
";
const CLAUDE: &str = r#"{"id":"a","bs":64,"tool":128,"sys":64,"r":[[0.0,0,7.3,300,20,[[1,4]]],[90.0,85.0,9.1,400,30,[[1,6]]]],"sub":[{"t":95.0,"tool":64,"sys":0,"r":[[0.0,0,1.0,200,10,[[50,3]]]]}]}
{"id":"b","bs":64,"tool":128,"sys":64,"r":[[0.0,0,7.3,320,20,[[1,5]]],[9.0,2.0,9.1,130000,30,[[1,6]]]],"sub":[{"t":900.0,"tool":64,"sys":0,"r":[[0.0,0,1.0,200,10,[[50,3]]]]}]}
"#;
const BAILIAN: &str = r#"{"chat_id":1,"parent_chat_id":-1,"timestamp":0.5,"input_length":140,"output_length":9,"type":"text","turn":1,"hash_ids":[1,2,3,4,5,6,7,8,9]}
"#;

fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("traces-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let path = folder.join(name);
    fs::write(&path, bytes).expect("a temporary file");
    path
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn mooncake_blocks_are_the_full_ones_and_times_are_spread_over_their_rounding() {
    let trace = Trace::read(&file("m.jsonl.gz", &gzipped(MOONCAKE)), None).expect("readable");
    assert_eq!((trace.name.as_str(), trace.block_tokens, trace.requests()), ("m.jsonl", 512, 2));
    let blocks = |session: usize| &trace.sessions[session].turns[0].blocks;
    assert_eq!((blocks(0).len(), blocks(1).len()), (2, 1));
    assert_eq!(blocks(0)[0], blocks(1)[0]);
    assert!(matches!(&trace.arrivals, Arrivals::Recorded { quantum, .. } if *quantum > 2.9));
    let schedule = trace.schedule(1.0, 7);
    assert!(schedule[0].0.as_micros() < 3_000_000 && schedule[1].0.as_micros() >= 3_000_000);
    assert_ne!(schedule, trace.schedule(1.0, 8));
    let faster = trace.schedule(2.0, 7);
    assert_eq!(faster[1].0.as_micros(), schedule[1].0.as_micros() / 2);
}

#[test]
fn azure_times_are_relative_to_the_first() {
    let trace = Trace::read(&file("a.csv", AZURE.as_bytes()), None).expect("readable");
    let Arrivals::Recorded { seconds, quantum } = &trace.arrivals else { panic!("recorded") };
    assert!((seconds[1] - 14.5).abs() < 1e-6 && *quantum < 1e-9, "{seconds:?}");
    assert_eq!((trace.sessions[1].turns[0].input, trace.sessions[1].turns[0].output), (396, 109));
}

#[test]
fn agent_sessions_share_their_prompts_spawn_sub_agents_and_end_at_the_window() {
    let trace = Trace::read(&file("c.jsonl", CLAUDE.as_bytes()), None).expect("readable");
    let [a, sub, b] = &trace.sessions[..] else {
        panic!("two sessions and one sub-agent: the other began too late")
    };
    assert_eq!((a.turns.len(), sub.turns.len(), b.turns.len()), (2, 1, 1));
    assert!(sub.spawned && !a.spawned);
    assert_eq!((a.spawns[0].turn, a.spawns[0].delay.as_secs(), a.spawns[0].session), (1, 5, 1));
    assert_eq!(a.turns[1].think.as_secs(), 60, "longer thoughts are cut");
    assert_eq!(a.turns[0].blocks[..3], b.turns[0].blocks[..3], "tool and system prompt");
    assert_ne!(a.turns[0].blocks[3], b.turns[0].blocks[3], "block 4 of each is its own");
    assert_eq!(a.turns[0].blocks[..4], a.turns[1].blocks[..4]);
}

#[test]
fn bailian_chains_are_thinned_to_64_tokens() {
    let trace = Trace::read(&file("b.jsonl", BAILIAN.as_bytes()), None).expect("readable");
    assert_eq!((trace.block_tokens, trace.sessions[0].turns[0].blocks.len()), (64, 2));
}

#[test]
fn bad_lines_are_named() {
    let refused = |name: &str, text: &str, format| {
        let path = file(name, text.as_bytes());
        Trace::read(&path, format)
            .expect_err(name)
            .to_string()
            .replace(&path.display().to_string(), "FILE")
    };
    let mooncake =
        |line: &str| refused("bad.jsonl", &format!("{MOONCAKE}\n{line}\n"), Some(Format::Mooncake));
    assert!(mooncake("{oops").starts_with("FILE:4: key must be a string"));
    assert!(
        mooncake(r#"{"timestamp": 1, "input_length": 5}"#)
            .starts_with("FILE:4: missing field `output_length`")
    );
    assert_eq!(
        mooncake(r#"{"timestamp": 1, "input_length": 1600, "output_length": 5, "hash_ids": [0]}"#),
        "FILE:4: a prompt of 1600 tokens has 3 full blocks, but there are 1 block ids"
    );
    assert_eq!(
        mooncake(r#"{"timestamp": -5, "input_length": 16, "output_length": 5, "hash_ids": [0]}"#),
        "FILE:4: timestamp is -0.005, not a time"
    );
    let azure = |line: &str| refused("bad.csv", &format!("{AZURE}{line}\n"), None);
    assert_eq!(
        azure("yesterday,1,2"),
        "FILE:4: \"yesterday\" is no time like 2023-11-16 18:15:46.68"
    );
    assert!(azure("2023-11-16 18:15:46,-1,2").starts_with("FILE:4: \"-1\" is no token count"));
    assert_eq!(azure("2023-11-16 18:15:46,0,2"), "FILE:4: the prompt has no tokens");
    assert!(
        azure("2023-11-16 18:15:46,7").starts_with("FILE: ")
            || azure("2023-11-16 18:15:46,7").contains(":4")
    );
    assert_eq!(refused("empty.jsonl", "\n\n", None), "FILE: the file is empty");
    assert_eq!(
        refused("what.jsonl", "{\"a\": 1}\n", None),
        "FILE:1: its fields are of no known format; name one with --format"
    );
    assert!(refused("what.txt", "hello\n", None).starts_with("FILE:1: neither CSV"));
    assert!(Trace::read(&PathBuf::from("/no/such/file"), None).is_err());
}

#[test]
fn a_limit_takes_whole_sessions_with_their_sub_agents() {
    let path = file("limit.jsonl", CLAUDE.as_bytes());
    let limited = |limit| {
        let mut trace = Trace::read(&path, None).expect("readable");
        trace.truncate(limit);
        let turns: Vec<usize> = trace.sessions.iter().map(|session| session.turns.len()).collect();
        (turns, trace.sessions[0].spawns.len(), trace.requests())
    };
    assert_eq!(limited(9), (vec![2, 1, 1], 1, 4));
    assert_eq!(limited(3), (vec![2, 1, 0], 1, 3));
    assert_eq!(limited(2), (vec![2, 0, 0], 0, 2));
    assert_eq!(limited(1), (vec![1, 0, 0], 0, 1));
}
