//! The one clock: the machine's, one with an origin and a rate, one that leaps over idle time, or
//! one stepped by hand.
//!
//! A leaping clock (`--clock FROM@max`) runs at the pace of the machine's while anything works, and
//! jumps to the next thing that is due when nothing does. Nothing works when, for [`QUIET`] of real
//! time,
//!
//! - no [`Busy`] is held: whoever waits for a disk, a database or a network on behalf of work in
//!   hand holds one;
//! - no task of [`Env::spawn`](super::Env::spawn) was polled: frames on their way between two of
//!   them are work, too;
//! - no [`Alarm`] is due that was not dropped: whoever it woke has not looked yet.
//!
//! So a leap never lands behind an alarm, and never goes further than the first one. What only looks
//! whether there is something to do, again and again, dozes ([`Clock::doze`]): it is woken by time
//! that has passed, and no reason for a leap. A hold that lasts does no harm: time goes on at the
//! machine's pace, and everything that is due meanwhile happens.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::oneshot;

use crate::time::{Timestamp, micros};

/// Real time in which nothing may have happened before a clock leaps. Longer than a message takes
/// from one task to another over a socket of the machine.
const QUIET: Duration = Duration::from_millis(4);
/// How often a leaping clock looks whether anything is due, in real time.
const TICK: Duration = Duration::from_millis(1);
/// Longest leap. What is due later, such as never, is not waited for.
const LEAP_MAX: Duration = Duration::from_secs(10 * 366 * 86_400);

/// The one clock. Clones are the same clock.
#[derive(Clone, Debug)]
pub struct Clock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    System,
    Scaled { origin: Timestamp, started: Instant, rate: f64 },
    Stepped(Arc<Mutex<Steps>>),
    Leaping(Arc<Mutex<Steps>>),
}

/// What a clock knows that is moved by us.
#[derive(Debug)]
struct Steps {
    // The reading at `since`; without it the clock stands.
    base: Timestamp,
    since: Option<Instant>,
    // By deadline; the number keeps equal deadlines apart, in order of arrival.
    sleepers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    // They are woken, but no deadline of the clock.
    dozers: BTreeMap<(Timestamp, u64), oneshot::Sender<()>>,
    next_number: u64,
    // Alarms that are due and not dropped.
    due: usize,
    busy: usize,
    quiet_since: Option<Instant>,
}

impl Steps {
    fn new(base: Timestamp, since: Option<Instant>) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self {
            base,
            since,
            sleepers: BTreeMap::new(),
            dozers: BTreeMap::new(),
            next_number: 0,
            due: 0,
            busy: 0,
            quiet_since: since,
        }))
    }

    fn now(&self) -> Timestamp {
        self.since.map_or(self.base, |since| self.base.plus(since.elapsed()))
    }

    fn at(&self, real: Instant) -> Timestamp {
        self.since.map_or(self.base, |since| self.base.plus(real.saturating_duration_since(since)))
    }

    /// Wakes whoever waits for an instant up to `now`, in order.
    fn wake_through(&mut self, now: Timestamp) {
        while let Some(entry) = self.sleepers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            self.due += 1;
            // Nobody listens yet to an alarm that was only set.
            let _ = entry.remove().send(());
        }
        while let Some(entry) = self.dozers.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let _ = entry.remove().send(());
        }
    }

    /// What a leaping clock does every [`TICK`]: wakes what is due, and leaps if nothing works.
    fn tick(&mut self, real: Instant) {
        let now = self.at(real);
        self.wake_through(now);
        let is_quiet =
            self.quiet_since.is_none_or(|since| real.saturating_duration_since(since) >= QUIET);
        if self.busy > 0 || self.due > 0 || !is_quiet {
            return;
        }
        let Some(((deadline, _), _)) = self.sleepers.first_key_value() else { return };
        if deadline.since(now) > LEAP_MAX {
            return;
        }
        let deadline = *deadline;
        (self.base, self.since) = (deadline, Some(real));
        self.quiet_since = Some(real);
        self.wake_through(deadline);
    }
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Kind::System)
    }

    /// A clock that reads `origin` now and runs `rate` times as fast as the machine's.
    pub fn scaled(origin: Timestamp, rate: f64) -> Self {
        Self(Kind::Scaled { origin, started: Instant::now(), rate })
    }

    /// A clock that stands at `now` until it is stepped.
    pub fn stepped(now: Timestamp) -> Self {
        Self(Kind::Stepped(Steps::new(now, None)))
    }

    /// A clock that reads `origin` now and leaps over the time in which nothing works. It is driven
    /// by a task of the runtime this is called in, until the last clone is dropped.
    #[expect(clippy::disallowed_methods, reason = "the one door to the machine's timers")]
    pub fn leaping(origin: Timestamp) -> Self {
        let steps = Steps::new(origin, Some(Instant::now()));
        let driven = Arc::downgrade(&steps);
        tokio::spawn(drive(driven));
        Self(Kind::Leaping(steps))
    }

    /// The instant it is.
    #[expect(clippy::disallowed_methods, reason = "the one door to the machine's clock")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Kind::System => Timestamp(
                SystemTime::now()
                    .duration_since(SystemTime::UNIX_EPOCH)
                    .map_or_else(|before| -micros(before.duration()), micros),
            ),
            Kind::Scaled { origin, started, rate } => {
                origin.plus(started.elapsed().mul_f64(rate.max(0.0)))
            }
            Kind::Stepped(steps) | Kind::Leaping(steps) => lock(steps).now(),
        }
    }

    /// Waits until `duration` has passed on this clock.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn sleep(&self, duration: Duration) {
        match &self.0 {
            Kind::System => sleep_scaled(duration, 1.0).await,
            Kind::Scaled { rate, .. } => sleep_scaled(duration, *rate).await,
            Kind::Stepped(_) | Kind::Leaping(_) => {
                if !duration.is_zero() {
                    self.alarm(self.now().plus(duration)).wait().await;
                }
            }
        }
    }

    /// Waits until `duration` has passed, as [`Self::sleep`] does, but is no reason for a leap: for
    /// what only looks whether there is something to do.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn doze(&self, duration: Duration) {
        let Kind::Leaping(steps) = &self.0 else { return self.sleep(duration).await };
        let (mut dozing, woken) = {
            let mut locked = lock(steps);
            let (wake, woken) = oneshot::channel();
            let key = (locked.now().plus(duration), locked.next_number);
            locked.next_number += 1;
            locked.dozers.insert(key, wake);
            (Dozing { steps, key: Some(key) }, woken)
        };
        // An error means the clock is gone, and with it everybody who could drive it.
        let _ = woken.await;
        dozing.key = None;
    }

    /// Something that is due at `at`, whether or not somebody waits for it yet.
    pub fn alarm(&self, at: Timestamp) -> Alarm {
        let waits_for = match &self.0 {
            Kind::System => WaitsFor::Machine { rate: 1.0 },
            Kind::Scaled { rate, .. } => WaitsFor::Machine { rate: *rate },
            Kind::Stepped(steps) | Kind::Leaping(steps) => {
                let (wake, woken) = oneshot::channel();
                let mut locked = lock(steps);
                let number = locked.next_number;
                locked.next_number += 1;
                if at <= locked.now() {
                    locked.due += 1;
                    let _ = wake.send(());
                } else {
                    locked.sleepers.insert((at, number), wake);
                }
                WaitsFor::Steps { steps: Arc::clone(steps), number, woken: Some(woken) }
            }
        };
        Alarm { clock: self.clone(), at, waits_for }
    }

    /// While it is held there is work in hand, and the clock does not leap.
    pub fn busy(&self) -> Busy {
        match &self.0 {
            Kind::Leaping(steps) => {
                lock(steps).busy += 1;
                Busy(Some(Arc::clone(steps)))
            }
            _ => Busy(None),
        }
    }

    /// Whether this clock leaps, so that tasks are to be watched ([`Self::watch`]).
    pub(super) fn leaps(&self) -> bool {
        matches!(self.0, Kind::Leaping(_))
    }

    /// Runs a future and counts each poll of it as work.
    pub(super) async fn watch<F: Future>(self, future: F) -> F::Output {
        let mut future = pin!(future);
        std::future::poll_fn(|context| {
            let _busy = self.busy();
            future.as_mut().poll(context)
        })
        .await
    }

    /// Moves a stepped clock on to `to`, waking sleepers in order; does nothing to other clocks.
    pub fn step_to(&self, to: Timestamp) {
        let Kind::Stepped(steps) = &self.0 else { return };
        let mut steps = lock(steps);
        steps.wake_through(to);
        steps.base = steps.base.max(to);
    }

    /// The earliest deadline anybody sleeps for on a stepped clock.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let Kind::Stepped(steps) = &self.0 else { return None };
        lock(steps).sleepers.keys().next().map(|(deadline, _)| *deadline)
    }
}

/// Drives a leaping clock for as long as anybody has it.
async fn drive(clock: Weak<Mutex<Steps>>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(steps) = clock.upgrade() else { return };
        lock(&steps).tick(Instant::now());
    }
}

/// Sleeps for `duration` of a clock that runs `rate` times as fast as the machine's.
#[expect(clippy::disallowed_methods, reason = "the one door to the machine's timers")]
async fn sleep_scaled(duration: Duration, rate: f64) {
    if rate > 0.0 {
        tokio::time::sleep(duration.div_f64(rate)).await;
    } else {
        std::future::pending().await
    }
}

/// Something that is due at an instant; dropping it takes it back.
#[must_use]
#[derive(Debug)]
pub struct Alarm {
    clock: Clock,
    at: Timestamp,
    waits_for: WaitsFor,
}

#[derive(Debug)]
enum WaitsFor {
    /// The machine's timers.
    Machine { rate: f64 },
    /// Somebody who moves the clock; `woken` until that was waited for.
    Steps { steps: Arc<Mutex<Steps>>, number: u64, woken: Option<oneshot::Receiver<()>> },
}

impl Alarm {
    /// Waits until it is due; returns at once when it was waited for before.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future has no effect.
    pub async fn wait(&mut self) {
        match &mut self.waits_for {
            WaitsFor::Machine { rate } => {
                sleep_scaled(self.at.since(self.clock.now()), *rate).await;
            }
            WaitsFor::Steps { woken, .. } => {
                if let Some(waiting) = woken {
                    // An error means the clock is gone, and with it everybody who could move it.
                    let _ = waiting.await;
                    *woken = None;
                }
            }
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let WaitsFor::Steps { steps, number, .. } = &self.waits_for else { return };
        let mut steps = lock(steps);
        if steps.sleepers.remove(&(self.at, *number)).is_none() {
            steps.due -= 1;
        }
    }
}

/// Work in hand; see [`Clock::busy`].
#[must_use]
#[derive(Debug)]
pub struct Busy(Option<Arc<Mutex<Steps>>>);

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(steps) = &self.0 {
            let mut steps = lock(steps);
            steps.busy -= 1;
            steps.quiet_since = Some(Instant::now());
        }
    }
}

struct Dozing<'a> {
    steps: &'a Mutex<Steps>,
    key: Option<(Timestamp, u64)>,
}

impl Drop for Dozing<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            lock(self.steps).dozers.remove(&key);
        }
    }
}

fn lock(steps: &Mutex<Steps>) -> MutexGuard<'_, Steps> {
    steps.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
