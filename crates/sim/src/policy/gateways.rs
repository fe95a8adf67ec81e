//! Several gateways in front of one fleet. Each embeds the scheduler as shipped, gets a part of the
//! requests, and sends its peers the real messages.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use ::slotwise::{Instant, Rng};
use slotwise_gateway::peers::{PeerKey, PeerLink, PeersConfig};

use super::slotwise::{Slotwise, Variant};
use super::{
    Booked, Finished, Fleet, Forecast, Incoming, Needs, Policy, Report, Traffic, name_key,
};
use crate::replica::KvChange;

/// The gateways of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gateways {
    /// Their number.
    pub count: usize,
    /// Which of them gets a request.
    pub spread: Spread,
    /// The mean time between two messages of a gateway; `None` sends none.
    pub delta: Option<Duration>,
    /// The share of messages that are lost on the way to a peer.
    pub loss: f64,
    /// How long a message is on its way.
    pub latency: Duration,
}

/// How what stands in front of the gateways chooses one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Spread {
    /// At random.
    #[default]
    Random,
    /// By a hash of the session, so that all turns reach the same gateway. Without a session, by
    /// the prompt's first block.
    Session,
}

impl FromStr for Spread {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "random" => Ok(Self::Random),
            "session" => Ok(Self::Session),
            _ => Err(format!("{name:?} is neither random nor session")),
        }
    }
}

pub(super) struct SeveralGateways {
    gateways: Vec<Gateway>,
    /// The gateway of each request in flight.
    of: HashMap<u32, usize>,
    mail: BinaryHeap<Reverse<Mail>>,
    posted: u64,
    shape: Gateways,
    /// Draws the gateway of a request.
    draw: Rng,
    /// Draws the messages that are lost.
    losses: Rng,
    now: Instant,
}

struct Gateway {
    policy: Slotwise,
    link: Option<PeerLink>,
    /// When it has to send or to forget something.
    due: Instant,
}

/// A message on its way to all gateways but its sender, in the order of arrival.
#[derive(Eq, Ord, PartialEq, PartialOrd)]
struct Mail {
    at: Instant,
    number: u64,
    sender: usize,
    bytes: Rc<Vec<u8>>,
}

impl SeveralGateways {
    pub(super) fn build(shape: Gateways, fleet: &Fleet) -> Box<dyn Policy> {
        let gateways = (0..shape.count).map(|number| {
            let mut policy = Slotwise::new(Variant::Shipped, fleet);
            let link = shape.delta.map(|interval| {
                let name = format!("gateway-{number}");
                let mut config = PeersConfig::new(name, PeerKey::new([7; 32]));
                config.interval = interval;
                PeerLink::new(config, 1, &mut policy.scheduler).expect("valid")
            });
            Gateway { policy, link, due: Instant::ORIGIN }
        });
        Box::new(Self {
            gateways: gateways.collect(),
            of: HashMap::new(),
            mail: BinaryHeap::new(),
            posted: 0,
            shape,
            draw: Rng::new(fleet.seed ^ 0x6761_7465),
            losses: Rng::new(fleet.seed ^ 0x6c6f_7373),
            now: Instant::ORIGIN,
        })
    }

    /// The gateway that gets a request.
    fn gateway_of(&mut self, request: &Incoming<'_>) -> usize {
        let key = match self.shape.spread {
            Spread::Random => None,
            Spread::Session => match request.session {
                Some(session) => Some(name_key(session)),
                None => request.blocks.first().map(|first| first.0),
            },
        };
        let number = match key {
            Some(key) => Rng::new(key).next_u64(),
            None => self.draw.next_u64(),
        };
        (number % self.shape.count as u64) as usize
    }

    /// Sends and delivers all messages until `now`, in the order of time.
    fn advance(&mut self, now: Instant) {
        loop {
            let due = self.gateways.iter().enumerate().filter(|(_, it)| it.link.is_some());
            let due = due.map(|(number, it)| (it.due, number)).min();
            let arrival = self.mail.peek().map(|Reverse(mail)| mail.at);
            match (due, arrival) {
                (_, Some(at)) if at <= now && due.is_none_or(|(due, _)| at <= due) => {
                    self.now = self.now.max(at);
                    self.deliver();
                }
                (Some((due, number)), _) if due <= now => {
                    self.now = self.now.max(due);
                    self.send(number);
                }
                _ => break,
            }
        }
        self.now = self.now.max(now);
    }

    fn deliver(&mut self) {
        let Some(Reverse(mail)) = self.mail.pop() else { return };
        for number in 0..self.gateways.len() {
            let is_lost = self.shape.loss > 0.0 && self.losses.unit() < self.shape.loss;
            let gateway = &mut self.gateways[number];
            if let Some(link) = gateway.link.as_mut().filter(|_| number != mail.sender && !is_lost)
            {
                link.apply_delta(self.now, &mut gateway.policy.scheduler, &mail.bytes)
                    .expect("messages of peers are valid");
                self.refresh(number);
            }
        }
    }

    fn send(&mut self, number: usize) {
        let gateway = &mut self.gateways[number];
        let Some(link) = &mut gateway.link else { return };
        while let Some(bytes) = link.export_delta(self.now, &mut gateway.policy.scheduler) {
            self.posted += 1;
            let at = self.now + self.shape.latency;
            let mail = Mail { at, number: self.posted, sender: number, bytes: Rc::new(bytes) };
            self.mail.push(Reverse(mail));
        }
        self.refresh(number);
        // Without an interval, a gateway sends again when something happens.
        let least = self.now + Duration::from_micros(1);
        self.gateways[number].due = self.gateways[number].due.max(least);
    }

    fn refresh(&mut self, number: usize) {
        let (now, gateway) = (self.now, &mut self.gateways[number]);
        if let Some(link) = &mut gateway.link {
            gateway.due = link.next_timeout(now, &mut gateway.policy.scheduler);
        }
    }

    /// The gateway of a request in flight, which has an input at `now`.
    fn input(
        &mut self,
        now: Instant,
        number: usize,
        input: impl FnOnce(&mut Slotwise) -> Option<usize>,
    ) -> Option<usize> {
        let result = input(&mut self.gateways[number].policy);
        self.refresh(number);
        self.advance(now);
        result
    }
}

impl Policy for SeveralGateways {
    fn pick(&mut self, now: Instant, request: &Incoming<'_>) -> Option<usize> {
        self.advance(now);
        let number = self.gateway_of(request);
        self.of.insert(request.id, number);
        self.input(now, number, |policy| policy.pick(now, request))
    }

    fn forecast(&self, id: u32) -> Option<Forecast> {
        self.gateways[*self.of.get(&id)?].policy.forecast(id)
    }

    fn first_token(&mut self, now: Instant, id: u32) {
        self.advance(now);
        if let Some(number) = self.of.get(&id).copied() {
            self.input(now, number, |policy| {
                policy.first_token(now, id);
                None
            });
        }
    }

    fn complete(&mut self, now: Instant, id: u32, usage: Finished) {
        self.advance(now);
        if let Some(number) = self.of.remove(&id) {
            self.input(now, number, |policy| {
                policy.complete(now, id, usage);
                None
            });
        }
    }

    fn report(&mut self, now: Instant, replica: usize, report: &Report) {
        self.advance(now);
        self.gateways.iter_mut().for_each(|it| it.policy.report(now, replica, report));
    }

    fn kv_event(&mut self, now: Instant, replica: usize, change: &KvChange) {
        self.advance(now);
        self.gateways.iter_mut().for_each(|it| it.policy.kv_event(now, replica, change));
    }

    fn booked(&self) -> Option<Booked> {
        let [gateway] = &*self.gateways else { return None };
        gateway.policy.booked()
    }

    fn traffic(&self) -> Option<Traffic> {
        let stats = self.gateways.iter().filter_map(|it| Some(it.link.as_ref()?.peers().stats()));
        let stats: Vec<_> = stats.collect();
        let count = stats.len() as f64;
        let seconds = self.now.saturating_since(Instant::ORIGIN).as_secs_f64();
        let mean = |sum: u64| sum as f64 / count / seconds.max(1e-6);
        (!stats.is_empty()).then(|| Traffic {
            sent_per_s: mean(stats.iter().map(|it| it.sent).sum()),
            sent_bytes_per_s: mean(stats.iter().map(|it| it.sent_bytes).sum()),
            received_bytes_per_s: mean(stats.iter().map(|it| it.received_bytes).sum()),
            repeated: stats.iter().map(|it| it.repeated).sum(),
            headless: stats.iter().map(|it| it.headless).sum(),
            left_out: stats.iter().map(|it| it.left_out).sum(),
        })
    }

    fn needs(&self) -> Needs {
        self.gateways.first().map(|it| it.policy.needs()).unwrap_or_default()
    }
}
