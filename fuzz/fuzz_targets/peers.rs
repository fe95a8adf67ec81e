//! Messages between gateways: any bytes under the right key, and any order of any messages. No
//! input panics, and no peer claims more than its limits.
#![no_main]

use hmac::{Hmac, Mac};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;
use slotwise::{BlockHash, Instant, PeerLoad, SharedService};
use slotwise_gateway::gates::UsageChange;
use slotwise_gateway::peers::{News, PeerKey, Peers, PeersConfig};

// Bytes of a message after its seal was found right; then steps of two gateways.
fuzz_target!(|input: (&[u8], Vec<(u8, u8, u16)>)| {
    let (bytes, steps) = input;
    let key = || PeerKey::new([7; 32]);
    let gateway = |name: &str| Peers::new(PeersConfig::new(name, key()), 1).expect("valid");
    let (mut a, mut b) = (gateway("a"), gateway("b"));
    let limits = a.config().limits.clone();
    let _ = a.apply_delta(Instant::from_micros(1), &sealed(bytes));

    let (mut sent, mut now) = (Vec::new(), 1);
    for (what, which, value) in steps {
        now += u64::from(value) * 1_000;
        let at = Instant::from_micros(now);
        let (sender, receiver) = if which % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
        match what % 7 {
            0 => {
                let mut load = PeerLoad::default();
                (load.prefilling, load.running) = (value.into(), which.into());
                load.kv_tokens = u64::from(value) << (which % 40);
                sender.set_load((which % 8).into(), load);
            }
            1 => {
                let blocks = (1..=u64::from(value % 64)).map(|it| BlockHash(it << 40 | it));
                sender.insert_prefix((which % 8).into(), 16, blocks.collect());
            }
            2 => sent.extend(std::iter::from_fn(|| sender.export_delta(at))),
            3 => {
                let step_us = u64::from(value % 3) * 1_000;
                let step = now / 1_000 + u64::from(which);
                let (booked, refunded) = (value.into(), which.into());
                sender.count_usage(&UsageChange::new(1, step_us, step, booked, refunded));
            }
            4 => {
                let mut service = SharedService::default();
                (service.flow, service.requests) = (which.into(), u32::from(value % 2));
                (service.weight, service.waits) = (value.into(), value % 3 > 0);
                sender.serve(service);
            }
            5 => while receiver.poll_usage(at).is_some() {},
            _ => {
                if let Some(bytes) = sent.get(usize::from(value) % sent.len().max(1)) {
                    receiver.apply_delta(at, bytes).expect("sealed with the same key");
                }
            }
        }
        while let Some(news) = receiver.poll_news(at) {
            if let News::Load { load, .. } = news {
                assert!(load.requests() <= 2 * limits.requests && load.booked <= limits.booked * 2);
            }
        }
    }
});

/// The bytes with the seal of the gateways' key.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mac = <Hmac<Sha256> as Mac>::new_from_slice(&[7; 32]).expect("any length");
    let seal = mac.chain_update(bytes).finalize().into_bytes();
    [bytes, &seal[..16]].concat()
}
