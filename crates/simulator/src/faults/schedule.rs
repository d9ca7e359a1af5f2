//! Which fault is due now. Pure: it is told the time and the number of messages sent.

use std::time::Duration;

use rand::Rng;
use rand::rngs::SmallRng;
use thalweg_core::time::Timestamp;

use super::{Fault, FaultPlan, FaultTime};

/// How late a random fault may find its connection; later it is let go.
const RANDOM_GRACE: Duration = Duration::from_secs(1);

/// Faults still to come, and those in effect.
pub(crate) struct FaultSchedule {
    // In the order of the plan; the random ones after them, in the order of their times.
    waiting: Vec<Waiting>,
    random: Option<RandomFaults>,
    // Answers of REST and pages given so far.
    answers: u64,
}

struct Waiting {
    fault: Fault,
    at: Trigger,
    has_had_effect: bool,
}

#[derive(Clone, Copy)]
enum Trigger {
    Time(Timestamp),
    Messages(u64),
}

struct RandomFaults {
    every: Duration,
    next_at: Timestamp,
    rng: SmallRng,
}

/// A fault that befalls a connect, or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectFault {
    pub(crate) fault: Fault,
    /// Whether it is the first that it befalls.
    pub(crate) is_first: bool,
}

impl FaultSchedule {
    /// The schedule of `plan`, its times counted from `started`.
    pub(crate) fn new(plan: &FaultPlan, started: Timestamp, mut rng: SmallRng) -> Self {
        let waiting = plan.planned.iter().map(|planned| {
            let at = match planned.at {
                FaultTime::After(after) => Trigger::Time(started.plus(after)),
                FaultTime::Messages(count) => Trigger::Messages(count),
            };
            Waiting { fault: planned.fault, at, has_had_effect: false }
        });
        let waiting = waiting.collect();
        let random = plan.random_every.map(|every| {
            let next_at = started.plus(gap(every, &mut rng));
            RandomFaults { every, next_at, rng }
        });
        Self { waiting, random, answers: 0 }
    }

    /// Takes out the next fault for an open, subscribed connection that is due, if there is one.
    ///
    /// A stalled connection only meets faults that end it.
    pub(crate) fn take_open(
        &mut self,
        now: Timestamp,
        messages: u64,
        is_stalled: bool,
    ) -> Option<Fault> {
        self.update(now, messages);
        let found = self.waiting.iter().position(|waiting| {
            waiting.is_due(now)
                && waiting.fault.is_of_open_connection()
                && (!is_stalled || waiting.fault.ends_connection())
        })?;
        Some(self.waiting.remove(found).fault)
    }

    /// The fault that befalls a connect now, if there is one.
    pub(crate) fn connect(&mut self, now: Timestamp, messages: u64) -> Option<ConnectFault> {
        self.update(now, messages);
        self.befalling(now, Fault::is_of_connect)
    }

    /// The fault that befalls an answer of REST or a page now, if there is one, and until when;
    /// `answers` have been given before it.
    pub(crate) fn answer(
        &mut self,
        now: Timestamp,
        messages: u64,
        answers: u64,
    ) -> Option<(ConnectFault, Timestamp)> {
        self.answers = answers;
        self.update(now, messages);
        let since = self.waiting.iter().find_map(|waiting| match waiting.at {
            Trigger::Time(at) if at <= now && waiting.fault.is_of_answer() => Some(at),
            _ => None,
        })?;
        let befalls = self.befalling(now, Fault::is_of_answer)?;
        Some((befalls, since.plus(befalls.fault.window().unwrap_or_default())))
    }

    fn befalling(&mut self, now: Timestamp, is_kind: fn(Fault) -> bool) -> Option<ConnectFault> {
        let is_it = |waiting: &Waiting| waiting.is_due(now) && is_kind(waiting.fault);
        let found = self.waiting.iter().position(is_it)?;
        let waiting = &mut self.waiting[found];
        let fault = waiting.fault;
        let is_first = !std::mem::replace(&mut waiting.has_had_effect, true);
        if fault.window().is_none() {
            self.waiting.remove(found);
        }
        Some(ConnectFault { fault, is_first })
    }

    /// When the next fault comes that is due by time and not due yet.
    pub(crate) fn next_at(&self, now: Timestamp) -> Option<Timestamp> {
        let planned = self.waiting.iter().filter_map(|waiting| match waiting.at {
            Trigger::Time(at) if at > now => Some(at),
            _ => None,
        });
        planned.chain(self.random.as_ref().map(|random| random.next_at)).min()
    }

    /// Draws random faults up to now, turns reached counts into times, forgets what is over.
    fn update(&mut self, now: Timestamp, messages: u64) {
        if let Some(random) = &mut self.random {
            while random.next_at <= now {
                let at = random.next_at;
                random.next_at = at.plus(gap(random.every, &mut random.rng));
                let fault = draw(&mut random.rng);
                if at.plus(RANDOM_GRACE) >= now || fault.window().is_some() {
                    let at = Trigger::Time(at);
                    self.waiting.push(Waiting { fault, at, has_had_effect: false });
                }
            }
        }
        let answers = self.answers;
        self.waiting.retain_mut(|waiting| {
            let sent = if waiting.fault.is_of_answer() { answers } else { messages };
            if matches!(waiting.at, Trigger::Messages(count) if sent >= count) {
                waiting.at = Trigger::Time(now);
            }
            match (waiting.at, waiting.fault.window()) {
                (Trigger::Time(at), Some(length)) => now < at.plus(length),
                _ => true,
            }
        });
    }
}

impl Waiting {
    fn is_due(&self, now: Timestamp) -> bool {
        matches!(self.at, Trigger::Time(at) if at <= now)
    }
}

/// A time between two random faults, `every` on average.
fn gap(every: Duration, rng: &mut SmallRng) -> Duration {
    let exponential = -(1.0 - rng.random::<f64>()).ln();
    every.mul_f64(exponential).max(Duration::from_millis(1))
}

/// One of the faults that come at random.
fn draw(rng: &mut SmallRng) -> Fault {
    match rng.random_range(0..9) {
        0 => Fault::Stall(Duration::from_secs(rng.random_range(5..=30))),
        1 => Fault::Close,
        2 => Fault::Reset,
        3 => Fault::Goodbye,
        4 => Fault::Garbage,
        5 => Fault::Repeat(rng.random_range(1..=10)),
        6 => Fault::Error,
        7 => Fault::Refuse(Duration::from_secs(rng.random_range(1..=10))),
        _ => Fault::SlowHandshake(Duration::from_secs(rng.random_range(1..=5))),
    }
}
