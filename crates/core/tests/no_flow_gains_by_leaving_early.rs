//! Two flows with permanent load share one engine. Neither gains by how it ends its requests.

use std::time::Duration;

use slotwise::{
    Config, Decision, Endpoint, Failure, Instant, Request, RequestId, Scheduler, Usage,
};

/// How the other flow ends its requests.
#[derive(Clone, Copy, Debug)]
enum Cheat {
    /// It completes them.
    No,
    /// It cancels after the prompt is computed, before the first token is reported.
    BeforeTheFirstToken,
    /// It cancels one token before the end of the answer.
    BeforeTheLastToken,
    /// It cancels there too, and the gateway reports a failure of the engine.
    FailsBeforeTheLastToken,
}

/// Tokens of a prompt and of an answer.
const PROMPT: u32 = 20_000;
const ANSWER: u32 = 2_000;

/// Serves 400 requests in sequence. Returns the honest flow's share of the engine's work; a token
/// of an answer is twice the work of a token of a prompt.
fn honest_share(cheat: Cheat) -> f64 {
    let mut config = Config::default();
    config.learn_speed = false;
    config.flow.ttl = Duration::from_secs(1_000_000);
    let prefill = config.prefill.work(PROMPT, 0).get();
    let token = config.prefill.per_token.get() * 2.0;
    let mut scheduler = Scheduler::new(config).expect("valid");
    let mut now = Instant::ORIGIN;
    scheduler.add_endpoint(now, Endpoint::new("only").max_in_flight(1)).expect("room");
    let mut prompts = 0;
    let mut submit = |scheduler: &mut Scheduler, now, flow| {
        prompts += 1;
        let prompt = vec![prompts; PROMPT as usize];
        scheduler.submit(now, &Request::new("m").tokens(&prompt).flow(flow)).expect("room")
    };
    let mut honest: Vec<RequestId> =
        (0..4).map(|_| submit(&mut scheduler, now, "honest")).collect();
    let mut work = [0.0, 0.0];
    (0..4).for_each(|_| _ = submit(&mut scheduler, now, "cheat"));
    for _ in 0..400 {
        let Some(Decision::Dispatch(dispatch)) = scheduler.poll_decision(now) else {
            panic!("it has room")
        };
        let id = dispatch.request_id;
        let is_honest = honest.contains(&id);
        let cheat = if is_honest { Cheat::No } else { cheat };
        now = now + Duration::from_secs_f64(prefill);
        let mut tokens = 0;
        if !matches!(cheat, Cheat::BeforeTheFirstToken) {
            tokens = if matches!(cheat, Cheat::No) { ANSWER } else { ANSWER - 1 };
            scheduler.handle_tokens(now, id, tokens).expect("in flight");
            now = now + Duration::from_secs(4);
        }
        work[usize::from(is_honest)] += prefill + token * f64::from(tokens);
        match cheat {
            Cheat::No => {
                scheduler
                    .complete(now, id, Usage::default().completion_tokens(tokens))
                    .expect("once");
            }
            Cheat::BeforeTheFirstToken | Cheat::BeforeTheLastToken => {
                assert!(scheduler.cancel(now, id));
            }
            Cheat::FailsBeforeTheLastToken => {
                scheduler.fail(now, id, Failure::Engine).expect("once");
            }
        }
        let next = submit(&mut scheduler, now, if is_honest { "honest" } else { "cheat" });
        honest.extend(is_honest.then_some(next));
        // A failure backs the endpoint off, from which the other flow must not gain either.
        now = now + Duration::from_secs(61);
    }
    work[1] / (work[0] + work[1])
}

#[test]
fn an_honest_flow_keeps_its_half() {
    let cheats = [
        Cheat::No,
        Cheat::BeforeTheFirstToken,
        Cheat::BeforeTheLastToken,
        Cheat::FailsBeforeTheLastToken,
    ];
    for cheat in cheats {
        let share = honest_share(cheat);
        assert!((0.45..0.55).contains(&share), "{cheat:?}: {share}");
    }
}
