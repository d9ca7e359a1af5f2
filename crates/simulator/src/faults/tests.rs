//! Plans read and written, and the schedule over time.

use std::time::Duration;

use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use thalweg_core::time::Timestamp;

use super::schedule::ConnectFault;
use super::{Fault, FaultPlan, FaultSchedule, FaultTime, NAMES, PlannedFault};

const START: Timestamp = Timestamp(1_700_000_000_000_000);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn a_plan_is_read_and_written_back() {
    check_plan("", "");
    check_plan(" stall@10s , close@25s", "stall@10s:60s,close@25s");
    check_plan("refuse@30s:500ms,dup@#7", "refuse@30s:500ms,dup@#7:10");
    check_plan("goodbye@1m 30s, random@2m, reset@0s", "goodbye@90s,reset@0s,random@120s");
}

#[track_caller]
fn check_plan(text: &str, written: &str) {
    let plan: FaultPlan = text.parse().expect(text);
    assert_eq!(plan.to_string(), written);
    assert_eq!(written.parse::<FaultPlan>().expect(written), plan);
}

#[test]
fn each_wrong_entry_is_named() {
    check_problem("stal@10s", "there is no fault `stal`; `stall` is near");
    check_problem("close", "`close` does not say when, such as `close@25s`");
    check_problem("close@soon", "`soon` is no time");
    check_problem("close@5s:6s", "`close` takes no argument, and was given `6s`");
    check_problem("dup@5s:0", "`0` is no count");
    check_problem("stall@5s:long", "`long` is no length of time");
    check_problem("random@1ms", "at least 1 s");
    check_problem("random@2s,random@3s", "`random` is there twice");
    check_problem("close@soon,dup@5s:0", "`soon` is no time, such as `25s` or `#500`; `0` is no");
    check_problem("close@5s,,", "`` does not say when");
}

#[track_caller]
fn check_problem(text: &str, problem: &str) {
    let error = text.parse::<FaultPlan>().expect_err(text);
    let detail = error.detail.expect("what is wrong");
    assert!(detail.contains(problem), "{problem:?} in {detail:?}");
}

#[test]
fn the_table_has_every_fault() {
    let table = include_str!("../faults.rs");
    for name in NAMES {
        assert!(table.contains(&format!("//! | `{name}` |")) || name == "random", "{name}");
    }
}

fn schedule(plan: &str) -> FaultSchedule {
    let plan = plan.parse().expect("a plan");
    FaultSchedule::new(&plan, START, SmallRng::seed_from_u64(7))
}

#[test]
fn a_fault_of_an_open_connection_comes_once_at_its_time_or_later() {
    let mut faults = schedule("garbage@10s,close@20s");
    assert_eq!(faults.next_at(START), Some(START.plus(seconds(10))));
    assert_eq!(faults.take_open(START.plus(seconds(9)), 0, false), None);
    let later = START.plus(seconds(30));
    assert_eq!(faults.take_open(later, 0, true), Some(Fault::Close), "a stall holds back garbage");
    assert_eq!(faults.take_open(later, 0, true), None);
    assert_eq!(faults.take_open(later, 0, false), Some(Fault::Garbage));
    assert_eq!(faults.take_open(later, 0, false), None);
    assert_eq!(faults.next_at(later), None);
}

#[test]
fn a_fault_may_wait_for_a_number_of_messages() {
    let mut faults = schedule("error@#5,refuse@#5:3s");
    assert_eq!(faults.take_open(START, 4, false), None);
    assert_eq!(faults.connect(START, 4), None);
    assert_eq!(faults.take_open(START, 5, false), Some(Fault::Error));
    let refuse = |is_first| Some(ConnectFault { fault: Fault::Refuse(seconds(3)), is_first });
    assert_eq!(faults.connect(START.plus(seconds(2)), 6), refuse(true));
    assert_eq!(faults.connect(START.plus(seconds(2)), 6), refuse(false));
    assert_eq!(faults.connect(START.plus(seconds(3)), 6), None, "counted from the fifth message");
}

#[test]
fn a_slow_handshake_befalls_one_connect() {
    let mut faults = schedule("slow@1s:2s");
    assert_eq!(faults.connect(START, 0), None);
    let later = START.plus(seconds(60));
    assert_eq!(faults.connect(later, 0).map(|it| it.fault), Some(Fault::SlowHandshake(seconds(2))));
    assert_eq!(faults.connect(later, 0), None);
}

#[test]
fn random_faults_come_at_their_rate_and_from_the_seed() {
    let drawn = |seed| {
        let plan = "random@60s".parse().expect("a plan");
        let mut faults = FaultSchedule::new(&plan, START, SmallRng::seed_from_u64(seed));
        let mut found = Vec::new();
        for second in 0..86_400 {
            let now = START.plus(seconds(second));
            found.extend(faults.take_open(now, 0, false).map(|fault| (second, fault)));
            found.extend(
                faults.connect(now, 0).filter(|it| it.is_first).map(|it| (second, it.fault)),
            );
        }
        found
    };
    let faults = drawn(1);
    // 1,440 expected; five standard deviations.
    assert!((1250..1630).contains(&faults.len()), "{} faults a day", faults.len());
    assert_eq!(faults, drawn(1));
    assert_ne!(faults, drawn(2));
}

#[test]
fn random_faults_that_found_nobody_do_not_pile_up() {
    let mut faults = schedule("random@1s");
    let much_later = START.plus(seconds(1_000_000));
    assert!(faults.connect(much_later, 0).is_none_or(|fault| fault.is_first));
    let mut taken = 0;
    while faults.take_open(much_later, 0, false).is_some() {
        taken += 1;
    }
    assert!(taken < 20, "{taken} at once");
}

fn any_fault() -> impl Strategy<Value = Fault> {
    let length = || (0..10_000_000_u64).prop_map(Duration::from_millis);
    prop_oneof![
        length().prop_map(Fault::Stall),
        Just(Fault::Close),
        Just(Fault::Reset),
        Just(Fault::Goodbye),
        Just(Fault::Garbage),
        Just(Fault::InvalidUtf8),
        Just(Fault::Oversized),
        (1..100_000_u64).prop_map(Fault::Repeat),
        Just(Fault::Error),
        (1..100_000_u64).prop_map(Fault::Fragments),
        length().prop_map(Fault::Refuse),
        length().prop_map(Fault::PlainPage),
        length().prop_map(Fault::Unauthorized),
        length().prop_map(Fault::SlowHandshake),
    ]
}

fn any_time() -> impl Strategy<Value = FaultTime> {
    prop_oneof![
        (0..10_000_000_u64).prop_map(|millis| FaultTime::After(Duration::from_millis(millis))),
        any::<u64>().prop_map(FaultTime::Messages),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn every_plan_reads_back(
        planned in prop::collection::vec((any_fault(), any_time()), 0..8),
        random in prop::option::of(1_000..1_000_000_u64),
    ) {
        let planned = planned.into_iter().map(|(fault, at)| PlannedFault { fault, at }).collect();
        let plan = FaultPlan { planned, random_every: random.map(Duration::from_millis) };
        prop_assert_eq!(plan.to_string().parse::<FaultPlan>().expect("a plan"), plan);
    }

    #[test]
    fn any_text_is_a_plan_or_an_error(text in "[a-z0-9@:#, ]{0,40}") {
        let _ = text.parse::<FaultPlan>();
    }
}
