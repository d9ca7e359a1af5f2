//! Clocks that are moved by us: who is woken, when, and what keeps a clock from leaping.

#![expect(clippy::disallowed_methods, reason = "the tests wait for what they spawn themselves")]

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// A leaping clock that only these tests drive, and the real instant it began at.
fn undriven() -> (Clock, Instant) {
    let begun = Instant::now();
    let steps = Steps::new(Timestamp(0), Some(begun));
    (Clock(Kind::Leaping(steps)), begun)
}

fn tick(clock: &Clock, real: Instant) -> Timestamp {
    let Kind::Leaping(steps) = &clock.0 else { panic!("not a leaping clock") };
    lock(steps).tick(real);
    lock(steps).at(real)
}

fn at(duration: Duration) -> Timestamp {
    Timestamp(0).plus(duration)
}

#[tokio::test]
async fn a_stepped_clock_wakes_sleepers_in_order() {
    let clock = Clock::stepped(Timestamp(0));
    let sleeper = |seconds: u64| {
        let clock = clock.clone();
        tokio::spawn(async move {
            clock.sleep(SECOND * u32::try_from(seconds).unwrap()).await;
            clock.now()
        })
    };
    let (long, short) = (sleeper(2), sleeper(1));
    while clock.next_deadline() != Some(Timestamp(1_000_000)) {
        tokio::task::yield_now().await;
    }
    clock.step_to(Timestamp(1_500_000));
    assert_eq!(short.await.ok(), Some(Timestamp(1_500_000)));
    while clock.next_deadline() != Some(Timestamp(2_000_000)) {
        tokio::task::yield_now().await;
    }
    clock.step_to(Timestamp(3_000_000));
    assert_eq!(long.await.ok(), Some(Timestamp(3_000_000)));
}

#[tokio::test]
async fn a_sleeper_that_gave_up_is_no_deadline() {
    let clock = Clock::stepped(Timestamp(0));
    drop(clock.alarm(Timestamp(5)));
    assert_eq!(clock.next_deadline(), None);
    let mut past = clock.alarm(Timestamp(0));
    past.wait().await;
    past.wait().await;
}

#[tokio::test]
async fn an_idle_clock_leaps_to_the_first_alarm_and_waits_until_it_was_looked_at() {
    let (clock, begun) = undriven();
    let mut first = clock.alarm(at(HOUR));
    let second = clock.alarm(at(2 * HOUR));
    let quiet = begun + QUIET;
    assert_eq!(tick(&clock, begun + QUIET / 2), at(QUIET / 2), "it is not quiet for long enough");
    assert_eq!(tick(&clock, quiet), at(HOUR));
    first.wait().await;
    assert_eq!(tick(&clock, quiet + SECOND), at(HOUR + SECOND), "whoever it woke is at work");
    drop(first);
    assert_eq!(tick(&clock, quiet + SECOND), at(2 * HOUR));
    drop(second);
    assert_eq!(tick(&clock, quiet + 2 * SECOND), at(2 * HOUR + SECOND), "nothing more is due");
}

#[tokio::test]
async fn work_in_hand_keeps_the_clock_at_the_pace_of_the_machine() {
    let (clock, begun) = undriven();
    let mut soon = clock.alarm(at(SECOND));
    let _later = clock.alarm(at(HOUR));
    let (one, other) = (clock.busy(), clock.busy());
    drop(one);
    assert_eq!(tick(&clock, begun + SECOND / 2), at(SECOND / 2));
    assert_eq!(tick(&clock, begun + SECOND), at(SECOND));
    // What is due while somebody works happens: nobody can wait for himself for ever.
    soon.wait().await;
    drop(soon);
    assert_eq!(tick(&clock, begun + 2 * SECOND), at(2 * SECOND));
    drop(other);
    let ended = Instant::now().max(begun + 2 * SECOND);
    assert_eq!(tick(&clock, ended + 2 * QUIET), at(HOUR));
}

#[tokio::test]
async fn who_dozes_is_woken_by_a_leap_and_no_reason_for_one() {
    let (clock, begun) = undriven();
    let mut dozing = Box::pin(clock.doze(SECOND));
    let is_awake = futures::poll!(&mut dozing).is_ready();
    assert!(!is_awake);
    assert_eq!(tick(&clock, begun + SECOND / 2), at(SECOND / 2), "nothing is due");
    let _alarm = clock.alarm(at(HOUR));
    assert_eq!(tick(&clock, begun + SECOND / 2), at(HOUR));
    dozing.await;
}

#[tokio::test]
async fn what_is_due_never_is_not_waited_for() {
    let (clock, begun) = undriven();
    let _never = clock.alarm(Timestamp::MAX);
    assert_eq!(tick(&clock, begun + SECOND), at(SECOND));
}

#[tokio::test]
async fn weeks_pass_in_a_moment_each_sleep_to_its_microsecond() {
    let clock = Clock::leaping(Timestamp(0));
    let begun = Instant::now();
    let week = 7 * 24 * HOUR;
    for number in 1..=4 {
        let woken = at(week * number);
        let sleeping = clock.clone();
        let worker = tokio::spawn(clock.clone().watch(async move {
            sleeping.sleep(woken.since(sleeping.now())).await;
            sleeping.now()
        }));
        let now = worker.await.unwrap();
        assert!(now >= woken && now.since(woken) < SECOND, "{now} for {woken}");
    }
    assert!(begun.elapsed() < HOUR, "four weeks of it took {:?}", begun.elapsed());
}
