//! S17a: a source, a row-wise stream or one of closed windows, queried, is its whole input exactly once
//! at every moment: while its table commits or does not, while the tail is cut to nearly nothing, over
//! restarts, and when nothing runs.

#![expect(clippy::unwrap_used, reason = "a failed step of a test says enough by its line")]
#![expect(clippy::disallowed_methods, reason = "a test ends what it started by dropping it")]

mod outside;
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use outside::values;
use proptest::prelude::*;
use support::{Kind, World};
use thalweg_core::query::Query;
use thalweg_stream::engine::{Engine, Entry, Readable, Records, TableReader};
use thalweg_stream::pipeline::Pipeline;
use thalweg_stream::replay::History;

/// Longest wait for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
enum Step {
    /// Frames come in; those of odd numbers are refused.
    Frames(u8),
    /// The table commits from now on, or does not.
    Commits(bool),
    /// Everything that came was run.
    Settle,
    /// The process ends where it stands, and starts again.
    Restart,
    /// The same, with a question while nothing runs.
    AskStopped,
    Ask,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..40_u8).prop_map(Step::Frames),
        2 => any::<bool>().prop_map(Step::Commits),
        3 => Just(Step::Settle),
        1 => Just(Step::Restart),
        1 => Just(Step::AskStopped),
        3 => Just(Step::Ask),
    ]
}

fn engine(world: &World, pipeline: &Arc<Pipeline>, has_table: bool) -> Engine {
    let tail = pipeline.tail.clone().unwrap();
    let columns = Arc::clone(tail.schema());
    let table = has_table.then(|| Arc::clone(&world.table) as Arc<dyn TableReader>);
    let of_rows = world.kind != Kind::Windows;
    let history = of_rows.then(|| Arc::clone(pipeline) as Arc<dyn History>);
    let readable = Readable::Records(Records { tail, table, history, sql: None });
    let entry = Entry { kind: "source", readable, key: Vec::new(), latest: None, columns };
    Engine::new(world.env(), BTreeMap::from([("x".to_owned(), entry)]), Vec::new())
}

/// What the engine says is the input up to some frame; returns how many rows that is.
async fn ask(world: &World, engine: &Engine) -> usize {
    let rows = engine.collect(Query::new("SELECT v FROM x")).await.unwrap();
    let mut found = values(&rows, "v");
    found.sort_unstable();
    let whole = world.expected();
    assert_eq!(found, whole[..found.len().min(whole.len())], "S17a: a hole, or a row twice");
    if world.kind == Kind::Stream {
        let wrong = "SELECT v FROM x WHERE v > 0 AND before IS DISTINCT FROM v - 2";
        let rows = engine.collect(Query::new(wrong)).await.unwrap();
        assert_eq!(values(&rows, "v"), [] as [i64; 0], "S17a: rows of another state");
    }
    // A LIMIT is answered from the same rows.
    let rows = engine.collect(Query::new("SELECT v FROM x LIMIT 3")).await.unwrap();
    assert!(values(&rows, "v").len() >= found.len().min(3));
    found.len()
}

async fn check(kind: Kind, has_table: bool, steps: Vec<Step>) {
    let world = World::new(kind).await;
    let mut steps = steps.into_iter().peekable();
    while steps.peek().is_some() {
        // One life of the process.
        let pipeline = world.pipeline(has_table);
        let engine = engine(&world, &pipeline, has_table);
        let running = tokio::spawn({
            let pipeline = Arc::clone(&pipeline);
            async move { pipeline.run().await }
        });
        world.settled(&pipeline).await;
        let mut shown = ask(&world, &engine).await;
        let mut asks_stopped = false;
        for step in steps.by_ref() {
            match step {
                Step::Frames(count) => world.receive(count),
                Step::Commits(commits) => world.let_commit(commits),
                Step::Settle => world.settled(&pipeline).await,
                Step::Restart => break,
                Step::AskStopped => {
                    asks_stopped = true;
                    break;
                }
                Step::Ask => {
                    let now = ask(&world, &engine).await;
                    assert!(now >= shown, "S17a: rows that were shown are gone");
                    shown = now;
                }
            }
        }
        world.settled(&pipeline).await;
        assert_eq!(ask(&world, &engine).await, world.expected().len(), "S17a: rows are missing");
        running.abort();
        let _ = running.await;
        world.end_life().await;
        if asks_stopped {
            let pipeline = world.pipeline(has_table);
            pipeline.read_checkpoint().await.unwrap();
            let engine = self::engine(&world, &pipeline, has_table);
            let found = ask(&world, &engine).await;
            // Of windows there is what the table has.
            if kind != Kind::Windows {
                assert_eq!(
                    found,
                    world.expected().len(),
                    "S17a: nothing runs, and rows are missing"
                );
            }
        }
    }
}

fn cases() -> u32 {
    std::env::var("THALWEG_CASES").ok().and_then(|it| it.parse().ok()).unwrap_or(2_000) / 50
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_relation_is_its_whole_input_exactly_once_at_every_moment(
        steps in proptest::collection::vec(step(), 1..24),
        has_table in any::<bool>(),
        kind in prop_oneof![Just(Kind::Source), Just(Kind::Stream), Just(Kind::Windows)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let checked = tokio::time::timeout(PATIENCE, check(kind, has_table || kind == Kind::Windows, steps));
            checked.await.expect("it ends");
        });
    }
}

/// A life of two pipelines: what is picked from now on, how many frames come, which of the two keep up
/// until they are killed, and which of the tables commit.
type Life = (Vec<i64>, u8, [bool; 2], bool);

fn life() -> impl Strategy<Value = Life> {
    let picked = proptest::collection::vec(0..200_i64, 0..120);
    (picked, 1..60_u8, any::<[bool; 2]>(), any::<bool>())
}

/// S11: were a row in two arms or in none, the arms would not add up.
async fn check_arms(lives: Vec<Life>) {
    let world = World::new(Kind::Arm { is_picked: true }).await;
    let tables: [Arc<support::Table>; 2] = Default::default();
    let run = |arms: &[Arc<Pipeline>; 2]| {
        arms.clone().map(|arm| tokio::spawn(async move { arm.run().await }))
    };
    for (picked, frames, keep_up, commits) in lives {
        world.picked.change(picked);
        world.let_commit(commits);
        world.receive(frames);
        let arms = world.arms(&tables);
        let running = run(&arms);
        for (arm, _) in arms.iter().zip(keep_up).filter(|(_, keeps_up)| *keeps_up) {
            world.settled(arm).await;
        }
        for arm in running {
            arm.abort();
            let _ = arm.await;
        }
        world.end_life().await;
    }
    world.let_commit(true);
    let arms = world.arms(&tables);
    let running = run(&arms);
    for arm in &arms {
        world.settled(arm).await;
    }
    let has_all = |arm: &Arc<Pipeline>| {
        let epoch = arm.status().read().epoch;
        arm.deliveries().iter().all(|sink| sink.position.committed >= epoch)
    };
    while !arms.iter().all(has_all) {
        tokio::task::yield_now().await;
    }
    running.iter().for_each(tokio::task::JoinHandle::abort);
    let mut rows = [tables[0].numbers(), tables[1].numbers()].concat();
    rows.sort_unstable();
    assert_eq!(rows, world.expected(), "S11: the arms add up to the input");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arms_add_up_while_lookups_change_and_pipelines_are_killed(
        lives in proptest::collection::vec(life(), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let checked = tokio::time::timeout(PATIENCE, check_arms(lives));
            checked.await.expect("it ends");
        });
    }
}

#[test]
fn rows_are_read_from_the_input_only_as_far_as_they_are_wanted() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::new(Kind::Source).await;
        for _ in 0..4_000 {
            world.receive(250);
        }
        let pipeline = world.pipeline(false);
        let engine = engine(&world, &pipeline, false);
        let rows = engine.collect(Query::new("SELECT v FROM x LIMIT 10")).await.unwrap();
        assert_eq!(values(&rows, "v").len(), 10);
        let read = world.frames_read();
        assert!(read <= 3 * 16_384, "LIMIT 10 read {read} of 1,000,000 frames");
    });
}

#[test]
fn a_drain_reads_what_comes_before_the_feed_falls_silent() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::new(Kind::Source).await;
        world.receive(10);
        world.end_after_next_read(7);
        let pipeline = world.draining_pipeline(true);
        tokio::time::timeout(PATIENCE, pipeline.run()).await.expect("it ends").unwrap();
        assert_eq!(pipeline.status().read().source.frames_received, 17);
    });
}
