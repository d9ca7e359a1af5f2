//! The loop's own work: the records in memory, in step with the store.
//!
//! The board holds every run that has not ended and the state of every job, each at the version it
//! has in the store. A write that fails leaves the board as it was. A write that is fenced was made
//! by somebody else, most likely by a call of our own whose answer got lost: the record is read
//! again, and an attempt in it that nobody runs is one that was cut off.

use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg_core::store::Expected;
use thalweg_core::time::Timestamp;
use thalweg_core::{Error, ErrorKind, Result};
use tokio::sync::MutexGuard;

use super::{Next, PENDING_MAX, SLEEP_MAX, Scheduler, TASKS_AT_ONCE, WATERMARK_POLL, lock};
use crate::archive::{JobEvent, Kept, PRUNE_EVERY};
use crate::definition::JobDefinition;
use crate::due::{due, first_cursor};
use crate::machine::{self, Command, Event, Facts};
use crate::run::{JobState, Run, State, Trigger, fire_id};
use crate::schedule::Period;

/// Everything that has not ended.
#[derive(Default)]
pub(super) struct Board {
    recovered: bool,
    pub(super) jobs: BTreeMap<String, Kept<JobState>>,
    pub(super) runs: BTreeMap<String, Kept<Run>>,
    /// How many runs of a job have ended in this process.
    ends: BTreeMap<String, u32>,
}

/// Runs under way: id to job and concurrency group.
type Active = BTreeMap<String, (String, Option<String>)>;

impl Scheduler {
    /// The board, read from the store the first time.
    pub(super) async fn board(&self) -> Result<MutexGuard<'_, Board>> {
        let mut board = self.board.lock().await;
        if !board.recovered {
            self.recover(&mut board).await?;
        }
        Ok(board)
    }

    async fn recover(&self, board: &mut Board) -> Result<()> {
        *board = Board::default();
        let now = self.env.clock.now();
        for definition in self.jobs.values() {
            let state = JobState { cursor: first_cursor(definition, now), paused: false };
            let kept = match self.archive.job(&definition.name).await? {
                Some(kept) => kept,
                None => {
                    let name = &definition.name;
                    let version = self.archive.put_job(name, Expected::Absent, &state).await?;
                    Kept { record: state, version }
                }
            };
            board.jobs.insert(definition.name.clone(), kept);
        }
        for mut kept in self.archive.open_runs().await? {
            let run = &mut kept.record;
            // One that has ended was not moved any more; the first round does it.
            if !run.state.has_ended() {
                self.adopt(run)?;
                match self.jobs.get(&run.job) {
                    Some(definition) => machine::fit(definition, run),
                    // Nobody knows any more what its tasks do.
                    None => self.observe(run, Event::CancelAsked)?,
                }
            }
            board.runs.insert(run.id.clone(), kept);
        }
        board.recovered = true;
        Ok(())
    }

    /// Takes attempts that nobody runs for cut off.
    fn adopt(&self, run: &mut Run) -> Result<()> {
        for task in run.tasks.clone() {
            let lost = task.state == State::Running
                && !lock(&self.attempts).has(&run.id, &task.name, task.attempt);
            if lost {
                let jitter = self.jitter(&run.id, &task.name, task.attempt);
                let (task, attempt) = (task.name, task.attempt);
                self.observe(run, Event::Interrupted { task, attempt, crashed: true, jitter })?;
            }
        }
        Ok(())
    }

    /// One round of the loop; says when the next one is due.
    pub(super) async fn tick(self: &Arc<Self>) -> Result<Next> {
        let mut board = self.board().await?;
        self.take_down_ended(&mut board).await?;
        let now = self.env.clock.now();
        self.make_due_runs(&mut board, now).await?;
        self.settle_runs(&mut board, now).await?;
        Ok(self.next(&board, now))
    }

    /// Waits for the attempts to stop, and takes down how they ended.
    pub(super) async fn stop(&self) -> Result<()> {
        while !lock(&self.attempts).all_ended() {
            self.wake.notified().await;
        }
        if lock(&self.attempts).count() == 0 {
            return Ok(());
        }
        let mut board = self.board().await?;
        self.take_down_ended(&mut board).await
    }

    async fn take_down_ended(&self, board: &mut Board) -> Result<()> {
        let ended = lock(&self.attempts).ended();
        for ended in ended {
            self.change(board, &ended.run, &ended.event).await?;
            lock(&self.attempts).forget(&ended);
            let Some(kept) = board.runs.get(&ended.run) else { continue };
            if let (Event::Failed { attempt, note, .. }, false) =
                (ended.event, kept.record.cancelling)
            {
                let (run, task) = (ended.run, ended.task);
                let failed = JobEvent::AttemptFailed { run, task, attempt, note };
                self.note(&kept.record.job, failed).await;
            }
        }
        Ok(())
    }

    /// Lets an event happen to a run of the board, and stores what it is then.
    pub(super) async fn change(&self, board: &mut Board, id: &str, event: &Event) -> Result<()> {
        while let Some(kept) = board.runs.get(id) {
            let version = kept.version;
            let mut run = kept.record.clone();
            self.observe(&mut run, event.clone())?;
            if run == kept.record {
                return Ok(());
            }
            match self.save(board, run, version).await {
                Err(error) if error.kind == ErrorKind::Fenced => self.reload(board, id).await?,
                other => return other,
            }
        }
        Ok(())
    }

    pub(super) fn observe(&self, run: &mut Run, event: Event) -> Result<()> {
        let now = self.env.clock.now();
        match self.jobs.get(&run.job) {
            Some(definition) => machine::observe(now, definition, run, event),
            None => machine::observe(now, &JobDefinition::new(&run.job), run, event),
        }
    }

    async fn save(&self, board: &mut Board, record: Run, version: u64) -> Result<()> {
        let version = self.archive.put_open(Expected::Version(version), &record).await?;
        board.runs.insert(record.id.clone(), Kept { record, version });
        Ok(())
    }

    async fn reload(&self, board: &mut Board, id: &str) -> Result<()> {
        tracing::warn!(run = id, "a run was changed by somebody else; it is read again");
        match self.archive.open_run(id).await? {
            Some(mut kept) => {
                self.adopt(&mut kept.record)?;
                board.runs.insert(id.to_owned(), kept);
            }
            None => {
                board.runs.remove(id);
            }
        }
        Ok(())
    }

    /// Makes runs of the fires that are due. The run is stored before the cursor moves on: a crash
    /// in between makes the same run again, which is there already.
    async fn make_due_runs(&self, board: &mut Board, now: Timestamp) -> Result<()> {
        for definition in self.jobs.values() {
            let Some(mut kept) = board.jobs.get(&definition.name).cloned() else { continue };
            if kept.record.paused {
                continue;
            }
            let room = PENDING_MAX.saturating_sub(pending(board, &definition.name));
            let Some(due) = due(definition, kept.record.cursor, now, room) else { continue };
            for period in &due.periods {
                let id = fire_id(&definition.name, period.end);
                self.make_run(board, definition, Trigger::Schedule, id, *period).await?;
            }
            if let (true, Some(period)) = (due.missed, due.periods.first()) {
                let missed = JobEvent::FiresMissed { before: period.end };
                self.note(&definition.name, missed).await;
            }
            kept.record.cursor = due.cursor;
            self.save_job(board, &definition.name, kept).await?;
        }
        Ok(())
    }

    pub(super) async fn save_job(
        &self,
        board: &mut Board,
        job: &str,
        kept: Kept<JobState>,
    ) -> Result<()> {
        let expected = Expected::Version(kept.version);
        match self.archive.put_job(job, expected, &kept.record).await {
            Ok(version) => {
                board.jobs.insert(job.to_owned(), Kept { version, ..kept });
                Ok(())
            }
            Err(error) => {
                if error.kind == ErrorKind::Fenced
                    && let Some(newer) = self.archive.job(job).await?
                {
                    board.jobs.insert(job.to_owned(), newer);
                }
                Err(error)
            }
        }
    }

    /// Makes a run, or leaves the one of this id that has not ended alone. One that has ended is run
    /// anew if a person asks; a fire is claimed once.
    pub(super) async fn make_run(
        &self,
        board: &mut Board,
        definition: &JobDefinition,
        trigger: Trigger,
        id: String,
        period: Period,
    ) -> Result<()> {
        if board.runs.contains_key(&id) {
            return Ok(());
        }
        let now = self.env.clock.now();
        let stored = match self.archive.ended_run(&id).await? {
            Some(_) if trigger == Trigger::Schedule => return Ok(()),
            Some(mut run) => {
                machine::renew(definition, &mut run, now);
                self.archive.reopen(&run).await.map(|version| Kept { record: run, version })
            }
            None => {
                let run = Run::new(definition, trigger, id.clone(), period, now);
                let version = self.archive.put_open(Expected::Absent, &run).await;
                version.map(|version| Kept { record: run, version })
            }
        };
        match stored {
            Ok(kept) => {
                board.runs.insert(id.clone(), kept);
                self.note(&definition.name, JobEvent::RunCreated { run: id, trigger }).await;
                Ok(())
            }
            Err(error) if error.kind == ErrorKind::Fenced => self.reload(board, &id).await,
            Err(error) => Err(error),
        }
    }

    /// Decides about every run, the one asked for first being first in line, stores it, and acts.
    async fn settle_runs(self: &Arc<Self>, board: &mut Board, now: Timestamp) -> Result<()> {
        let mut order: Vec<(Timestamp, Timestamp, String)> = (board.runs.values())
            .map(|kept| &kept.record)
            .map(|run| (run.created_at, run.period_end, run.id.clone()))
            .collect();
        order.sort();
        let mut active: Active = (board.runs.values())
            .map(|kept| &kept.record)
            .filter(|run| run.is_active())
            .map(|run| (run.id.clone(), (run.job.clone(), self.group_of(run))))
            .collect();
        for (_, _, id) in order {
            let Some(kept) = board.runs.get(&id) else { continue };
            let version = kept.version;
            let mut run = kept.record.clone();
            let commands = match self.jobs.get(&run.job) {
                Some(definition) => {
                    let facts = self.facts(&run, definition, &active);
                    machine::settle(now, definition, &mut run, &facts)
                }
                None => {
                    let gone = JobDefinition::new(&run.job);
                    machine::settle(now, &gone, &mut run, &Facts::default())
                }
            };
            if run != kept.record {
                match self.save(board, run.clone(), version).await {
                    Err(error) if error.kind == ErrorKind::Fenced => {
                        self.reload(board, &id).await?;
                        continue;
                    }
                    other => other?,
                }
            }
            self.act(&run, &commands);
            active.remove(&id);
            if run.is_active() {
                active.insert(id.clone(), (run.job.clone(), self.group_of(&run)));
            }
            if run.state.has_ended() {
                self.file(board, &run).await?;
            }
        }
        Ok(())
    }

    fn facts(&self, run: &Run, definition: &JobDefinition, active: &Active) -> Facts {
        let others = || active.iter().filter(|(id, _)| **id != run.id);
        let of_job = others().filter(|(_, (job, _))| *job == run.job).count();
        let group = definition.concurrency_group.as_ref();
        let holder = others().find(|(_, (_, other))| group.is_some() && other.as_ref() == group);
        let waits = if run.state == State::Scheduled { &definition.wait_for[..] } else { &[] };
        Facts {
            watermarks: (waits.iter())
                .filter_map(|source| Some((source.clone(), (self.watermarks)(source)?)))
                .collect(),
            active_runs: u32::try_from(of_job).unwrap_or(u32::MAX),
            group_holder: holder.map(|(id, _)| id.clone()),
            free_slots: TASKS_AT_ONCE.saturating_sub(lock(&self.attempts).count()),
        }
    }

    fn group_of(&self, run: &Run) -> Option<String> {
        self.jobs.get(&run.job)?.concurrency_group.clone()
    }

    fn act(self: &Arc<Self>, run: &Run, commands: &[Command]) {
        for command in commands {
            match command {
                Command::StartTask { task } => self.start_attempt(run, *task),
                Command::StopTask { task, .. } => {
                    lock(&self.attempts).stop(&run.id, &run.tasks[*task].name);
                }
                _ => {}
            }
        }
    }

    /// Moves a run that has ended, and is stored so, out of the way.
    async fn file(&self, board: &mut Board, run: &Run) -> Result<()> {
        self.archive.file(run).await?;
        board.runs.remove(&run.id);
        let (id, state, reason) = (run.id.clone(), run.state, run.reason.clone());
        self.note(&run.job, JobEvent::RunEnded { run: id, state, reason }).await;
        let ends = board.ends.entry(run.job.clone()).or_default();
        if ends.is_multiple_of(PRUNE_EVERY)
            && let Err(error) = self.archive.prune(&run.job).await
        {
            tracing::warn!(error = error.chain(), job = run.job, "cannot take old runs away");
        }
        *ends += 1;
        Ok(())
    }

    fn next(&self, board: &Board, now: Timestamp) -> Next {
        let runs = || board.runs.values().map(|kept| &kept.record);
        let fires = self.jobs.values().filter_map(|definition| {
            let state = &board.jobs.get(&definition.name)?.record;
            let schedule = definition.schedule.as_ref().filter(|_| !state.paused)?;
            // A fire that is due already has no room, and gets it when a run ends.
            schedule.next_after(state.cursor).filter(|fire| *fire > now)
        });
        let waits = runs().any(|run| run.state == State::Scheduled);
        Next {
            due_at: fires.chain(runs().filter_map(|run| machine::wakes_at(run, now))).min(),
            look_after: if waits { WATERMARK_POLL } else { SLEEP_MAX },
        }
    }

    /// Adds to a job's history; that it cannot be is no reason to undo what was done.
    pub(super) async fn note(&self, job: &str, event: JobEvent) {
        if let Err(error) = self.archive.note(job, self.env.clock.now(), &event).await {
            tracing::warn!(error = error.chain(), job, "cannot add to the history of a job");
        }
    }

    pub(super) fn definition(&self, job: &str) -> Result<&JobDefinition> {
        self.jobs.get(job).ok_or_else(|| {
            let error = Error::invalid(format!("there is no job `{job}`"));
            match thalweg_core::problem::nearest(job, self.jobs.keys().map(String::as_str)) {
                Some(meant) => error.with_hint(format!("Did you mean `{meant}`?")),
                None => error.with_hint("`thalweg jobs list` shows the jobs of the project."),
            }
        })
    }
}

/// Runs of a job's schedule that have not ended.
fn pending(board: &Board, job: &str) -> usize {
    let runs = board.runs.values().map(|kept| &kept.record);
    runs.filter(|run| run.job == job && run.trigger == Trigger::Schedule).count()
}
