//! Programs that write, end, fail and do not stop.

use thalweg_sim::MemDisk;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;

fn env() -> Env {
    Env {
        clock: Clock::system(),
        disk: Arc::new(MemDisk::new(1)),
        shutdown: CancellationToken::new(),
        tasks: TaskTracker::new(),
        seed: 1,
    }
}

fn config(script: &str) -> ExecConfig {
    ExecConfig {
        name: "mine".to_owned(),
        command: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
        folder: std::env::temp_dir(),
        every: None,
        once: false,
        stale_after: Duration::from_secs(60),
        grace: Duration::from_secs(3),
    }
}

fn text(event: SourceEvent) -> String {
    match event {
        SourceEvent::Frame(frame) => String::from_utf8(frame.bytes.to_vec()).expect("text"),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn a_line_is_a_frame_and_the_end_says_how() {
    let script = r#"printf 'a\n\n b\r\nlast'; echo 'out of paper' >&2; exit 3"#;
    let mut exec = Exec::new(config(script), &env()).expect("a program");
    exec.connect().await.expect("it starts");
    for expected in ["a", " b", "last"] {
        assert_eq!(text(exec.next().await.expect("a line")), expected);
    }
    let error = exec.next().await.expect_err("it has ended");
    assert_eq!(error.message, "`sh` ended with code 3");
}

#[tokio::test]
async fn a_line_that_is_too_long_is_kept_by_its_head() {
    let script = "head -c 10000001 /dev/zero | tr '\\0' x; echo; echo next";
    let mut exec = Exec::new(config(script), &env()).expect("a program");
    exec.connect().await.expect("it starts");
    let SourceEvent::Oversized { length, head, .. } = exec.next().await.expect("a line") else {
        panic!("it is too long")
    };
    assert_eq!((length, head.len()), (10_000_001, HEAD_BYTES));
    assert_eq!(text(exec.next().await.expect("a line")), "next");
}

#[tokio::test]
async fn a_program_with_a_period_is_run_again_and_again() {
    let mut config = config("echo x");
    config.every = Some(Duration::from_millis(20));
    let mut exec = Exec::new(config, &env()).expect("a program");
    exec.connect().await.expect("nothing is due yet");
    let mut frames = 0;
    while frames < 3 {
        match exec.next().await.expect("it runs") {
            SourceEvent::Frame(_) => frames += 1,
            other => assert_eq!(other, SourceEvent::Alive),
        }
    }
}

#[tokio::test]
async fn a_program_that_does_not_stop_is_killed_with_those_it_started() {
    let mut config = config("trap '' TERM; sleep 1000 & echo $!; while :; do wait; done");
    config.grace = Duration::from_millis(100);
    let mut exec = Exec::new(config, &env()).expect("a program");
    exec.connect().await.expect("it starts");
    let started = text(exec.next().await.expect("a line"));
    exec.disconnect().await;
    // A zombie is no process that runs; one that was killed may need a moment to be that.
    let runs = || {
        let state = std::fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
        !state.is_empty() && !state.contains(") Z ")
    };
    let ended = async {
        while runs() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), ended).await.expect("it is killed");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_tried_again_later() {
    let mut config = config("");
    config.command = vec!["/no/such/program".to_owned()];
    let mut exec = Exec::new(config, &env()).expect("a program");
    let error = exec.connect().await.expect_err("there is none");
    assert_eq!(error.kind, thalweg_core::ErrorKind::Unavailable);
}
