//! The scheduler as a whole, on a stepped clock: what fires, what people ask for, what goes wrong.

mod crash;
mod harness;

use thalweg_core::ErrorKind;
use thalweg_core::time::Day;

use self::harness::{Fate, Fault, Life, MemoryStore, SECOND, Script, job, runtime, time};
use super::*;
use crate::run::State;

/// Runs a test in a life that begins on 22 December 2023 at noon.
fn live(jobs: &[JobDefinition], test: impl AsyncFnOnce(Life, Arc<Script>, Arc<MemoryStore>)) {
    runtime().block_on(async {
        let script = Arc::new(Script::default());
        let store = MemoryStore::new();
        let noon = time("2023-12-22T12:00:00Z");
        let life = Life::start(noon, Arc::clone(&store) as Arc<dyn Store>, &script, jobs);
        life.quiet().await;
        test(life, script, store).await;
    });
}

#[test]
fn a_nightly_job_runs_the_day_that_ended() {
    let nightly = job("nightly", Some("15 0 * * *"), &["hourly", "compact after hourly"]);
    live(&[nightly], async |life, script, store| {
        let jobs = life.scheduler.jobs().await.expect("listed");
        assert_eq!(jobs[0].next_fires[0], time("2023-12-23T00:15:00Z"));
        assert_eq!(jobs[0].next_fires.len(), 5);
        assert_eq!(jobs[0].last_run, None);
        life.pass_to(time("2023-12-23T00:14:59Z")).await;
        assert_eq!(life.shown().await, [""; 0]);
        life.pass_to(time("2023-12-24T12:00:00Z")).await;
        let shown = [
            "nightly@2023-12-23T00:15:00Z succeeded: hourly=succeeded compact=succeeded",
            "nightly@2023-12-24T00:15:00Z succeeded: hourly=succeeded compact=succeeded",
        ];
        assert_eq!(life.shown().await, shown);
        let started = lock(&script.started).clone();
        let first =
            ("nightly@2023-12-23T00:15:00Z#1/hourly".to_owned(), 1, "2023-12-22".to_owned());
        assert_eq!(started[0], first);
        assert_eq!(started.len(), 4);
        let runs = life.scheduler.runs(Some("nightly"), 1).await.expect("listed");
        assert_eq!(runs[0].started_at, Some(time("2023-12-24T00:15:00Z")));
        assert_eq!((runs[0].day.as_str(), runs[0].tasks_ended), ("2023-12-23", 2));
        let log = life.scheduler.log(&runs[0].run, "hourly", None).await.expect("read");
        assert!(log.complete);
        assert_eq!(log.lines[0].text, "attempt 1 for 2023-12-23");
        let tasks = life.scheduler.tasks(Some(&runs[0].run), 1).await.expect("listed");
        assert_eq!(tasks[0].note.as_deref(), Some("did 2023-12-23"));
        assert_eq!((store.count("run"), store.count("run_ended")), (0, 2));
        life.stop().await;
    });
}

#[test]
fn a_scheduled_run_waits_for_its_watermark() {
    let mut nightly = job("nightly", Some("15 0 * * *"), &["hourly"]);
    nightly.wait_for = vec!["trades".to_owned()];
    live(&[nightly], async |life, script, _| {
        life.pass_to(time("2023-12-23T03:00:00Z")).await;
        let run = &life.scheduler.runs(None, 1).await.expect("listed")[0];
        assert_eq!(run.state, State::Scheduled);
        let waits = "waits for trades to pass 2023-12-23T00:15:00Z";
        assert_eq!(run.reason.as_deref(), Some(waits));
        lock(&script.watermarks).insert("trades".to_owned(), time("2023-12-23T00:15:00Z"));
        life.pass(1).await;
        let run = &life.scheduler.runs(None, 1).await.expect("listed")[0];
        assert_eq!((run.state, run.reason.as_deref()), (State::Succeeded, None));
        assert_eq!(run.started_at, Some(time("2023-12-23T03:00:01Z")));
    });
}

#[test]
fn failures_are_retried_time_outs_stop_and_panics_stay_inside() {
    let mut many = job("many", None, &["flaky", "hangs", "stuck", "panics", "wrong"]);
    for task in &mut many.tasks {
        task.retries = 2;
        task.timeout = Some(Duration::from_secs(60));
    }
    live(&[many], async |life, script, _| {
        let unavailable = Fate::Fails(ErrorKind::Unavailable);
        script.says("many/flaky", &[unavailable, Fate::Fails(ErrorKind::Data)]);
        script.says("many/hangs", &[Fate::Hangs]);
        script.says("many/stuck", &[Fate::Ignores]);
        script.says("many/panics", &[Fate::Panics]);
        script.says("many/wrong", &[Fate::Fails(ErrorKind::Invalid)]);
        let run = life.scheduler.trigger("many", None).await.expect("asked");
        life.pass(10 * 60).await;
        let tasks = life.scheduler.tasks(Some(&run), 1).await.expect("listed");
        let shown: Vec<String> =
            tasks.iter().map(|t| format!("{} {} {}", t.task, t.state, t.attempt)).collect();
        let expected = [
            "flaky succeeded 3",
            "hangs succeeded 2",
            "stuck succeeded 2",
            "panics failed 1",
            "wrong failed 1",
        ];
        assert_eq!(shown, expected);
        assert_eq!(tasks[3].note.as_deref(), Some("panicked: of all things"));
        assert_eq!(tasks[4].note.as_deref(), Some("it broke\n  hint: Mend it."));
        let log = life.scheduler.log(&run, "hangs", Some(1)).await.expect("read");
        let lines: Vec<&str> = log.lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(lines, ["attempt 1 for 2023-12-21", "stopped"]);
        assert_eq!(log.lines[1].at, time("2023-12-22T12:01:00Z"));
        // The one that does not listen is dropped after its grace.
        let log = life.scheduler.log(&run, "stuck", Some(1)).await.expect("read");
        assert_eq!(log.lines[1].at, time("2023-12-22T12:01:05Z"));
        let history = life.scheduler.history("many", 100).await.expect("read");
        assert_eq!(history.len(), 1 + 6 + 1, "{history:?}");
        life.scheduler.retry(&run, None).await.expect("asked");
        life.pass(1).await;
        assert_eq!(life.scheduler.runs(None, 1).await.expect("listed")[0].state, State::Succeeded);
    });
}

#[test]
fn the_log_of_a_task_that_runs_can_be_read() {
    live(&[job("slow", None, &["a"])], async |life, script, store| {
        script.says("slow/a", &[Fate::Takes(30)]);
        let run = life.scheduler.trigger("slow", None).await.expect("asked");
        life.quiet().await;
        let log = life.scheduler.log(&run, "a", None).await.expect("read");
        assert!(!log.complete && log.lines.len() == 1, "{log:?}");
        assert_eq!(store.count("task_log"), 1, "it is stored while the task runs");
        let error = life.scheduler.log(&run, "b", None).await.expect_err("no such task");
        assert_eq!(error.kind, ErrorKind::Invalid);
        let error = life.scheduler.log("x", "b", None).await.expect_err("no such run");
        assert_eq!(error.kind, ErrorKind::Invalid);
    });
}

#[test]
fn runs_wait_for_their_turn() {
    let mut a = job("a", None, &["x"]);
    a.concurrency_group = Some("heavy".to_owned());
    let mut b = job("b", None, &["x"]);
    b.concurrency_group = Some("heavy".to_owned());
    let wide = job("wide", None, &["1", "2", "3", "4", "5", "6", "7"]);
    let mut twice = job("twice", None, &["x"]);
    twice.max_active = 2;
    live(&[a, b, wide, twice], async |life, script, _| {
        for task in ["a/x", "b/x"] {
            script.says(task, &[Fate::Takes(10), Fate::Takes(10)]);
        }
        let day = |text| Day::parse(text);
        for (job, date) in [("a", "2023-12-01"), ("b", "2023-12-01"), ("a", "2023-12-02")] {
            life.scheduler.trigger(job, day(date)).await.expect("asked");
        }
        life.pass(1).await;
        let runs = life.scheduler.runs(None, 9).await.expect("listed");
        let reason = |id: &str| runs.iter().find(|r| r.run == id).and_then(|r| r.reason.clone());
        let holder = "waits for a@2023-12-01.manual of group heavy".to_owned();
        assert_eq!(reason("b@2023-12-01.manual"), Some(holder));
        let own = "waits for another run of the job".to_owned();
        assert_eq!(reason("a@2023-12-02.manual"), Some(own));
        life.pass(60).await;
        assert_eq!(lock(&script.running).1, 1, "one of the group at once");
        script.says("twice/x", &[Fate::Takes(10); 3]);
        for date in ["2023-12-01", "2023-12-02", "2023-12-03"] {
            life.scheduler.trigger("twice", day(date)).await.expect("asked");
        }
        life.pass(60).await;
        assert_eq!(lock(&script.running).1, 2, "two runs of the job at once");
        for task in 1..=7 {
            script.says(&format!("wide/{task}"), &[Fate::Takes(10)]);
        }
        life.scheduler.trigger("wide", None).await.expect("asked");
        life.pass(60).await;
        assert_eq!(lock(&script.running).1, TASKS_AT_ONCE);
        let runs = life.scheduler.runs(None, 9).await.expect("listed");
        assert!(runs.iter().all(|run| run.state == State::Succeeded), "{runs:?}");
    });
}

#[test]
fn a_person_can_cancel_retry_and_mark() {
    live(&[job("j", None, &["a", "b after a", "c after b"])], async |life, script, _| {
        script.says("j/a", &[Fate::Hangs]);
        let run = life.scheduler.trigger("j", Day::parse("2023-12-01")).await.expect("asked");
        assert_eq!(run, "j@2023-12-01.manual");
        life.pass(1).await;
        life.scheduler.cancel(&run).await.expect("asked");
        life.pass(1).await;
        let shown = ["j@2023-12-01.manual cancelled: a=cancelled b=cancelled c=cancelled"];
        assert_eq!(life.shown().await, shown);
        check_invalid(life.scheduler.cancel(&run).await);
        check_invalid(life.scheduler.cancel("nothing").await);
        script.says("j/b", &[Fate::Fails(ErrorKind::Data)]);
        life.scheduler.retry(&run, None).await.expect("asked");
        life.pass(1).await;
        assert_eq!(
            life.shown().await,
            ["j@2023-12-01.manual failed: a=succeeded b=failed c=skipped"]
        );
        life.scheduler.mark(&run, "b", State::Succeeded).await.expect("marked");
        life.pass(1).await;
        let shown = ["j@2023-12-01.manual succeeded: a=succeeded b=succeeded c=succeeded"];
        assert_eq!(life.shown().await, shown);
        let executed: Vec<String> = script.executions();
        assert_eq!(executed.last().map(String::as_str), Some("j@2023-12-01.manual#1/c 1"));
        assert_eq!(executed.len(), 4, "{executed:?}");
        check_invalid(life.scheduler.retry(&run, None).await);
        check_invalid(life.scheduler.retry(&run, Some("x")).await);
        life.scheduler.retry(&run, Some("b")).await.expect("asked");
        life.pass(1).await;
        assert_eq!(script.executions().len(), 6);
        life.scheduler.mark(&run, "c", State::Failed).await.expect("marked");
        assert_eq!(life.scheduler.runs(None, 1).await.expect("listed")[0].state, State::Failed);
        check_invalid(life.scheduler.trigger("k", None).await);
        check_invalid(life.scheduler.pause("k").await);
    });
}

#[track_caller]
fn check_invalid<T: std::fmt::Debug>(result: Result<T>) {
    assert_eq!(result.expect_err("refused").kind, ErrorKind::Invalid);
}

#[test]
fn the_same_day_asked_for_twice_is_one_run() {
    live(&[job("j", None, &["a"])], async |life, script, _| {
        script.says("j/a", &[Fate::Takes(10)]);
        let day = Day::parse("2023-12-01");
        let run = life.scheduler.trigger("j", day).await.expect("asked");
        assert_eq!(life.scheduler.trigger("j", day).await.expect("asked"), run);
        life.pass(20).await;
        assert_eq!(script.executions(), ["j@2023-12-01.manual#1/a 1"]);
        assert_eq!(life.scheduler.trigger("j", day).await.expect("asked"), run);
        life.pass(20).await;
        let executed = ["j@2023-12-01.manual#1/a 1", "j@2023-12-01.manual#2/a 2"];
        assert_eq!(script.executions(), executed);
        assert_eq!(life.shown().await, ["j@2023-12-01.manual succeeded: a=succeeded"]);
        // Without a schedule the period that ended last is yesterday.
        life.scheduler.trigger("j", None).await.expect("asked");
        life.quiet().await;
        assert_eq!(lock(&script.started)[2].2, "2023-12-21");
    });
}

#[test]
fn a_back_fill_shows_its_days_and_runs_each_once() {
    live(&[job("j", Some("@daily"), &["a"])], async |life, script, store| {
        let day = |text| Day::parse(text).expect("a day");
        let (first, last) = (day("2023-12-18"), day("2023-12-20"));
        let preview = life.scheduler.backfill("j", first, last, true).await.expect("shown");
        let days: Vec<&str> = preview.iter().map(|day| day.day.as_str()).collect();
        assert_eq!(days, ["2023-12-18", "2023-12-19", "2023-12-20"]);
        assert!(preview.iter().all(|day| day.state.is_none()));
        assert_eq!(store.count("run"), 0, "a preview asks for nothing");
        life.scheduler.backfill("j", first, last, false).await.expect("asked");
        life.scheduler.backfill("j", first, last, false).await.expect("asked");
        life.pass(10).await;
        let days: Vec<String> = lock(&script.started).iter().map(|run| run.2.clone()).collect();
        assert_eq!(days, ["2023-12-18", "2023-12-19", "2023-12-20"], "oldest first, each once");
        let again = life.scheduler.backfill("j", last, day("2023-12-21"), true).await;
        let states: Vec<_> = again.expect("shown").iter().map(|day| day.state).collect();
        assert_eq!(states, [Some(State::Succeeded), None]);
        check_invalid(life.scheduler.backfill("j", last, first, true).await);
        check_invalid(life.scheduler.backfill("j", last, day("2023-12-23"), true).await);
        check_invalid(life.scheduler.backfill("j", day("2010-01-01"), last, true).await);
        check_invalid(life.scheduler.backfill("k", first, last, true).await);
    });
}

#[test]
fn a_paused_job_fires_again_when_it_is_resumed() {
    let mut all = job("all", Some("@hourly"), &["a"]);
    all.catch_up = true;
    let latest = job("latest", Some("@hourly"), &["a"]);
    live(&[all, latest], async |life, _, _| {
        for job in ["all", "latest"] {
            life.scheduler.pause(job).await.expect("paused");
        }
        life.pass(4 * 3600 + 60).await;
        assert_eq!(life.shown().await, [""; 0]);
        assert!(life.scheduler.jobs().await.expect("listed")[0].next_fires.is_empty());
        for job in ["all", "latest"] {
            life.scheduler.resume(job).await.expect("resumed");
        }
        life.pass(1).await;
        let shown = [
            "all@2023-12-22T13:00:00Z succeeded: a=succeeded",
            "all@2023-12-22T14:00:00Z succeeded: a=succeeded",
            "all@2023-12-22T15:00:00Z succeeded: a=succeeded",
            "all@2023-12-22T16:00:00Z succeeded: a=succeeded",
            "latest@2023-12-22T16:00:00Z succeeded: a=succeeded",
        ];
        let mut found = life.shown().await;
        found.sort();
        assert_eq!(found, shown);
    });
}

#[test]
fn a_job_that_cannot_keep_up_does_not_pile_up_runs() {
    let mut busy = job("busy", Some("every 1m"), &["a"]);
    busy.catch_up = true;
    live(&[busy], async |life, script, store| {
        script.says("busy/a", &[Fate::Takes(3600), Fate::Hangs]);
        life.pass(1800).await;
        assert_eq!(store.count("run"), PENDING_MAX);
        life.pass(2000).await;
        assert_eq!(store.count("run"), PENDING_MAX);
        assert_eq!(script.executions().len(), 2);
        let first = &script.executions()[1];
        assert_eq!(first, "busy@2023-12-22T12:02:00Z#1/a 1", "none is passed over");
    });
}

#[test]
fn old_runs_and_their_logs_are_taken_away() {
    live(&[job("often", Some("every 1m"), &["a"])], async |life, _, store| {
        life.pass(60 * 700).await;
        let kept = crate::archive::RUNS_KEPT;
        let most = kept + crate::archive::PRUNE_EVERY as usize;
        for kind in ["run_ended", "task_log"] {
            let count = store.count(kind);
            assert!(count >= kept && count <= most, "{count} of {kind}");
        }
        let newest = &life.scheduler.runs(Some("often"), 1).await.expect("listed")[0];
        assert_eq!(newest.period_end, time("2023-12-22T23:40:00Z"));
        let history = life.scheduler.history("often", usize::MAX).await.expect("read");
        assert_eq!(history.len(), 1_400);
    });
}

#[test]
fn a_store_that_does_not_answer_delays_but_loses_nothing() {
    for happens in [false, true] {
        for writes in 0..12 {
            live(&[job("j", Some("@hourly"), &["a", "b after a"])], async |life, script, store| {
                store.set_fault(Fault::Refuse { writes, refused: 5, happens });
                life.pass(3600).await;
                if writes == 0 {
                    assert!(life.scheduler.stalled().is_some());
                }
                life.pass(600).await;
                assert_eq!(life.scheduler.stalled(), None);
                let shown = ["j@2023-12-22T13:00:00Z succeeded: a=succeeded b=succeeded"];
                assert_eq!(life.shown().await, shown, "{writes} {happens}");
                let mut executed = script.executions();
                let all = executed.len();
                executed.sort();
                executed.dedup();
                assert_eq!(executed.len(), all, "S19: no attempt twice");
                if !happens {
                    assert_eq!(all, 2, "what was done is not done again");
                }
            });
        }
    }
}

#[test]
fn a_shutdown_stops_tasks_and_the_next_start_goes_on() {
    let jobs = [job("j", Some("@hourly"), &["a", "b"]), job("k", None, &["a"])];
    live(&jobs, async |life, script, store| {
        script.says("j/a", &[Fate::Hangs]);
        script.says("j/b", &[Fate::Takes(10)]);
        script.says("k/a", &[Fate::Ignores]);
        life.scheduler.trigger("k", Day::parse("2023-12-01")).await.expect("asked");
        life.pass(3605).await;
        let started = life.now();
        life.stop().await;
        assert_eq!(lock(&script.running).0, 0, "nothing is left running");
        let store = Arc::clone(&store) as Arc<dyn Store>;
        let next = Life::start(time("2023-12-22T13:10:00Z"), store, &script, &jobs);
        assert!(next.now() > started);
        next.pass(1).await;
        let shown = [
            "k@2023-12-01.manual succeeded: a=succeeded",
            "j@2023-12-22T13:00:00Z succeeded: a=succeeded b=succeeded",
        ];
        assert_eq!(next.shown().await, shown);
        let tasks = next.scheduler.tasks(Some("j@2023-12-22T13:00:00Z"), 1).await.expect("listed");
        assert_eq!(tasks.iter().map(|t| t.attempt).collect::<Vec<_>>(), [2, 2]);
    });
}

#[test]
fn a_job_that_left_the_project_ends_and_a_changed_one_goes_on() {
    let gone = job("gone", None, &["a"]);
    let changed = job("changed", None, &["a", "b after a"]);
    live(&[gone, changed], async |life, script, store| {
        script.says("gone/a", &[Fate::Hangs]);
        script.says("changed/b", &[Fate::Hangs]);
        let day = Day::parse("2023-12-01");
        let run = life.scheduler.trigger("gone", day).await.expect("asked");
        life.scheduler.trigger("changed", day).await.expect("asked");
        life.pass(1).await;
        life.stop().await;
        let store = Arc::clone(&store) as Arc<dyn Store>;
        let jobs = [job("changed", None, &["a", "c after a"])];
        let next = Life::start(time("2023-12-22T13:10:00Z"), store, &script, &jobs);
        next.pass(60).await;
        let shown = [
            "changed@2023-12-01.manual succeeded: a=succeeded c=succeeded",
            "gone@2023-12-01.manual cancelled: a=cancelled",
        ];
        let mut found = next.shown().await;
        found.sort();
        assert_eq!(found, shown);
        check_invalid(next.scheduler.retry(&run, None).await);
    });
}

#[test]
fn what_is_wrong_with_the_jobs_is_said_at_once() {
    let script = Arc::new(Script::default());
    let circle = job("j", None, &["a after b", "b after a"]);
    let jobs = vec![circle, job("k", None, &[]), job("k", None, &["a"])];
    let runtime = runtime();
    let _entered = runtime.enter();
    let life = Life::start(Timestamp(SECOND), MemoryStore::new(), &script, &[]);
    let problems = Scheduler::new(
        life.scheduler.env.clone(),
        MemoryStore::new(),
        jobs,
        Arc::new(|_, _| None),
        Arc::new(|_| None),
    );
    let problems = problems.err().expect("refused");
    let messages: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
    let expected = [
        "the tasks of job `j` wait for each other",
        "job `k` has no tasks",
        "there are two jobs named `k`",
    ];
    assert_eq!(messages, expected);
}
