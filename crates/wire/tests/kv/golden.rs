//! Payloads with known contents, in the formats of all versions.

use slotwise::{KvEvent, Tier};
use slotwise_wire::kv::internals::{Batch, Decoder};

use super::fixtures::bytes_of;

/// A value for the shortest msgpack encoding.
pub(crate) enum Value<'a> {
    Nil,
    Int(u64),
    Negative(i8),
    Time(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    List(Vec<Self>),
    Map(Vec<(&'a str, Self)>),
}

use Value::{Bytes, Int, List, Map, Negative, Nil, Text, Time};

impl Value<'_> {
    pub(crate) fn written(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Nil => out.push(0xc0),
            Int(number @ 0..=0x7f) => out.push(*number as u8),
            Int(number @ ..=0xffff) => {
                out.push(0xcd);
                out.extend((*number as u16).to_be_bytes());
            }
            Int(number) => {
                out.push(0xcf);
                out.extend(number.to_be_bytes());
            }
            Negative(number) => out.extend([0xd0, *number as u8]),
            Time(time) => {
                out.push(0xcb);
                out.extend(time.to_be_bytes());
            }
            Text(text) => {
                out.extend([0xd9, text.len() as u8]);
                out.extend(text.as_bytes());
            }
            Bytes(bytes) => {
                out.extend([0xc4, bytes.len() as u8]);
                out.extend(*bytes);
            }
            List(values) => {
                out.push(0xdc);
                out.extend((values.len() as u16).to_be_bytes());
                values.iter().for_each(|value| value.write(out));
            }
            Map(pairs) => {
                out.push(0xde);
                out.extend((pairs.len() as u16).to_be_bytes());
                for (key, value) in pairs {
                    Text(key).write(out);
                    value.write(out);
                }
            }
        }
    }
}

pub(crate) fn batch(events: Vec<Value<'_>>) -> Vec<u8> {
    List(vec![Time(1.5), List(events), Int(0)]).written()
}

fn ints(numbers: std::ops::Range<u64>) -> Value<'static> {
    List(numbers.map(Int).collect())
}

/// A stored event of two blocks of two tokens at the start of a prompt, with more fields.
fn stored<'a>(more: Vec<(&'a str, Value<'a>)>) -> Value<'a> {
    let mut fields = vec![
        ("type", Text("BlockStored")),
        ("block_hashes", ints(10..12)),
        ("parent_block_hash", Nil),
        ("token_ids", ints(0..4)),
        ("block_size", Int(2)),
    ];
    for (name, value) in more {
        fields.retain(|(known, _)| *known != name);
        fields.push((name, value));
    }
    Map(fields)
}

/// The events in a short form for comparison.
pub(crate) fn told(batch: &Batch<'_>) -> Vec<String> {
    let events = batch.events().map(|event| match event {
        KvEvent::BlockStored(event) => {
            let names: Vec<u64> = event.blocks.iter().map(|block| block.0).collect();
            let parent = event.parent.map(|parent| parent.0);
            let mut text =
                format!("{names:?} after {parent:?} of {:?}", event.tokens.unwrap_or_default());
            if event.tier != Tier::Gpu {
                text += &format!(" in {:?}", event.tier);
            }
            if let Some(adapter) = event.adapter {
                text += &format!(" for {adapter}");
            }
            if let Some(salt) = event.cache_salt {
                text += &format!(" salted {salt}");
            }
            text
        }
        KvEvent::BlockRemoved(event) => {
            format!(
                "no {:?} in {:?}",
                event.blocks.iter().map(|block| block.0).collect::<Vec<_>>(),
                event.tier
            )
        }
        KvEvent::AllBlocksCleared => "nothing".into(),
        other => panic!("{other:?}"),
    });
    events.collect()
}

fn decode(payload: &[u8]) -> (Vec<String>, Vec<(&'static str, u64)>) {
    let mut decoder = Decoder::new();
    let batch = decoder.decode(payload).expect("well formed");
    let skipped_events =
        batch.skipped_events().counts().into_iter().filter(|(_, count)| *count > 0).collect();
    (told(&batch), skipped_events)
}

const TWO: &str = "[10, 11] after None of [0, 1, 2, 3]";

#[test]
fn maps_of_vllm_0_33() {
    let payload = bytes_of(
        "93cb3ff800000000000093de000aa474797065ab426c6f636b53746f726564ac626c6f636b5f68617368657391cfffffffffffffffff\
         b1706172656e745f626c6f636b5f68617368c0a9746f6b656e5f6964739400010203aa626c6f636b5f73697a6504a76c6f72615f6964\
         c0a66d656469756da3475055a96c6f72615f6e616d65c0aa65787472615f6b65797391c0a967726f75705f6964780083a474797065ac\
         426c6f636b52656d6f766564ac626c6f636b5f6861736865739101a66d656469756da347505581a474797065b0416c6c426c6f636b73\
         436c656172656400",
    );
    let (events, skipped_events) = decode(&payload);
    assert_eq!(
        events,
        ["[18446744073709551615] after None of [0, 1, 2, 3]", "no [1] in Gpu", "nothing"]
    );
    assert_eq!(skipped_events, []);
    let mut decoder = Decoder::new();
    for end in 0..payload.len() {
        let error = decoder.decode(&payload[..end]).expect_err("cut off");
        assert_eq!((error.offset, error.problem.code()), (end, "truncated"));
    }
    let mut longer = payload.clone();
    longer.push(0);
    assert_eq!(decoder.decode(&longer).expect_err("too long").offset, payload.len());
}

#[test]
fn arrays_of_every_version_before() {
    // 0.8 to 0.23, field by field, and SGLang's first.
    let fields = || {
        vec![
            Text("BlockStored"),
            ints(10..12),
            Nil,
            ints(0..4),
            Int(2),
            Nil,
            Text("GPU"),
            Nil,
            List(vec![Nil, Nil]),
            Int(0),
            Text("full_attention"),
            Nil,
        ]
    };
    for length in [5, 6, 7, 8, 9, 10, 11, 12] {
        let event = List(fields().into_iter().take(length).collect());
        assert_eq!(decode(&batch(vec![event])), (vec![TWO.into()], vec![]), "{length}");
    }
    let mut longer = fields();
    longer.push(Int(9));
    assert_eq!(decode(&batch(vec![List(longer)])), (vec![TWO.into()], vec![("unknown_fields", 1)]));
    let removed = |length| {
        List(
            vec![Text("BlockRemoved"), ints(10..12), Text("CPU"), Int(0)]
                .into_iter()
                .take(length)
                .collect(),
        )
    };
    assert_eq!(
        decode(&batch(vec![removed(2), removed(3), removed(4)])).0,
        ["no [10, 11] in Gpu", "no [10, 11] in Cpu", "no [10, 11] in Cpu"]
    );
    assert_eq!(decode(&batch(vec![List(vec![Text("AllBlocksCleared")])])).0, ["nothing"]);
}

#[test]
fn hashes_of_any_length() {
    let long: [u8; 32] = core::array::from_fn(|at| at as u8);
    let event = stored(vec![
        ("block_hashes", List(vec![Bytes(&long), Negative(-2)])),
        ("parent_block_hash", Bytes(&[1, 2])),
    ]);
    let name = 0x1819_1a1b_1c1d_1e1f_u64;
    let expected = format!("[{name}, {}] after Some(258) of [0, 1, 2, 3]", u64::MAX - 1);
    assert_eq!(decode(&batch(vec![event])).0, [expected]);
}

#[test]
fn media_are_tiers() {
    for (medium, tier) in [
        ("GPU", ""),
        ("CPU", " in Cpu"),
        ("CPU_PINNED", " in Cpu"),
        ("cpu", " in Cpu"),
        ("DISK", " in Disk"),
        ("STORAGE", " in Disk"),
        ("EXTERNAL", " in Disk"),
    ] {
        assert_eq!(
            decode(&batch(vec![stored(vec![("medium", Text(medium))])])).0,
            [format!("{TWO}{tier}")]
        );
    }
    let remote = vec![("medium", Text("CPU")), ("locality", Text("REMOTE"))];
    assert_eq!(decode(&batch(vec![stored(remote)])).0, [format!("{TWO} in Disk")]);
    let unknown = stored(vec![("medium", Text("TAPE"))]);
    assert_eq!(decode(&batch(vec![unknown])), (vec![], vec![("unknown_media", 1)]));
}

#[test]
fn adapters_salts_and_images() {
    let keys = |lists: Vec<Option<Vec<Value<'static>>>>| {
        List(lists.into_iter().map(|keys| keys.map_or(Nil, List)).collect())
    };
    let told = |more| decode(&batch(vec![stored(more)]));
    let a = || vec![Text("a")];
    let adapter = vec![
        ("lora_id", Int(1)),
        ("lora_name", Text("a")),
        ("extra_keys", keys(vec![Some(a()), Some(a())])),
    ];
    assert_eq!(told(adapter), (vec![format!("{TWO} for a")], vec![]));
    let both = vec![
        ("lora_name", Text("a")),
        ("extra_keys", keys(vec![Some(vec![Text("a"), Text("t")]), Some(a())])),
    ];
    assert_eq!(told(both), (vec![format!("{TWO} for a salted t")], vec![]));
    let salt = vec![("extra_keys", keys(vec![Some(vec![Text("t")]), None]))];
    assert_eq!(told(salt), (vec![format!("{TWO} salted t")], vec![]));
    // SGLang's field.
    assert_eq!(told(vec![("cache_salt", Text("t"))]), (vec![format!("{TWO} salted t")], vec![]));
    // An adapter without a name may be another one on another replica.
    assert_eq!(told(vec![("lora_id", Int(1))]), (vec![], vec![("unnamed_adapters", 1)]));
    assert_eq!(told(vec![("lora_id", Int(0))]), (vec![TWO.into()], vec![]));
    // An image in the second block: the first block is kept.
    let image = || vec![List(vec![Text("image"), Int(3)])];
    let second = vec![("extra_keys", keys(vec![None, Some(image())]))];
    assert_eq!(
        told(second),
        (vec!["[10] after None of [0, 1]".into()], vec![("multimodal_blocks", 1)])
    );
    let first = vec![("extra_keys", keys(vec![Some(image()), None]))];
    assert_eq!(told(first), (vec![], vec![("multimodal_blocks", 2)]));
    // A text that is not a salt, because no prompt starts here.
    let later = vec![
        ("parent_block_hash", Int(9)),
        ("extra_keys", keys(vec![None, Some(vec![Text("image")])])),
    ];
    assert_eq!(
        told(later),
        (vec!["[10] after Some(9) of [0, 1]".into()], vec![("multimodal_blocks", 1)])
    );
}

#[test]
fn one_group_of_layers_stands_for_the_model() {
    let group =
        |index, kind| stored(vec![("group_idx", Int(index)), ("kv_cache_spec_kind", Text(kind))]);
    let gone = |index| {
        Map(vec![
            ("type", Text("BlockRemoved")),
            ("block_hashes", ints(10..11)),
            ("group_idx", Int(index)),
        ])
    };
    let mut decoder = Decoder::new();
    let first = batch(vec![
        group(0, "sliding_window"),
        group(1, "full_attention"),
        group(2, "full_attention"),
        group(3, "mamba"),
        gone(0),
        gone(1),
        gone(2),
    ]);
    let decoded = decoder.decode(&first).expect("well formed");
    assert_eq!(told(&decoded), [TWO, "no [10] in Gpu"]);
    assert_eq!(decoded.skipped_events().other_groups, 5);
    // The decoder keeps the group.
    let second = batch(vec![gone(0), gone(1)]);
    assert_eq!(told(&decoder.decode(&second).expect("well formed")), ["no [10] in Gpu"]);
    // Unless the batch is rejected.
    let mut fresh = Decoder::new();
    fresh.decode(&first[..first.len() - 1]).expect_err("cut off");
    assert_eq!(
        told(&fresh.decode(&batch(vec![gone(0)])).expect("well formed")),
        ["no [10] in Gpu"]
    );
}

#[test]
fn what_is_unknown_is_counted() {
    let event = stored(vec![("colour", List(vec![Map(vec![("a", Nil)])]))]);
    let other = Map(vec![("type", Text("BlockPainted")), ("block_hashes", ints(0..3))]);
    let copy = stored(vec![("token_ids", List(vec![])), ("medium", Text("CPU"))]);
    let (events, skipped_events) = decode(&batch(vec![event, other, copy]));
    assert_eq!(events, [TWO]);
    assert_eq!(
        skipped_events,
        [("unknown_fields", 1), ("unknown_kinds", 1), ("without_tokens", 1)]
    );
}

#[test]
fn a_negative_group_is_malformed() {
    let mut bytes = batch(vec![stored(vec![("group_idx", Int(0))])]);
    assert_eq!(decode(&bytes).0, [TWO]);
    let name = bytes.windows(9).position(|text| text == b"group_idx").expect("the field");
    bytes[name + 9] = 0xff; // -1
    Decoder::new().decode(&bytes).expect_err("negative");
}
