//! What people ask for: trigger, cancel, retry, pause, resume, mark, back-fill.
//!
//! Each changes a record under the loop's lock, stores it, and wakes the loop, which does the rest.
//! When a call returns, what it asked for survives a crash.

use thalweg_core::time::{Day, Timestamp};
use thalweg_core::{Error, ErrorKind, Result};

use super::board::Board;
use super::{BACKFILL_DAYS_MAX, OPEN_RUNS_MAX, Scheduler, no_such_run};
use crate::archive::{JobEvent, Kept};
use crate::definition::JobDefinition;
use crate::machine::Event;
use crate::run::{State, Trigger, backfill_id, manual_day_id, manual_fire_id};
use crate::schedule::Period;
use crate::status::BackfillDay;

impl Scheduler {
    /// Asks for a run of a job, about a UTC day or about the period that ended last, and returns its
    /// id. One that has been asked for and has not ended is that run; one that has ended is run
    /// anew. It does not wait for watermarks.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such job, or too many runs wait already.
    pub async fn trigger(&self, job: &str, day: Option<Day>) -> Result<String> {
        let definition = self.definition(job)?;
        let (id, period) = match day {
            Some(day) => (manual_day_id(job, day), period_of(day)),
            None => {
                let period = last_period(definition, self.env.clock.now());
                (manual_fire_id(job, period.end), period)
            }
        };
        let mut board = self.board().await?;
        check_room(&board, 1)?;
        self.make_run(&mut board, definition, Trigger::Manual, id.clone(), period).await?;
        self.wake.notify_one();
        Ok(id)
    }

    /// Asks a run to stop: what runs is asked to, what does not run any more is cancelled.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such run, or it has ended.
    pub async fn cancel(&self, run: &str) -> Result<()> {
        self.ask(run, Event::CancelAsked, JobEvent::CancelAsked { run: run.to_owned() }).await
    }

    /// Runs the tasks of an ended run that did not succeed again, and with `from` also that task and
    /// all that comes after it.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such run or task, when the run has not ended, or when there is
    /// nothing to run again.
    pub async fn retry(&self, run: &str, from: Option<&str>) -> Result<()> {
        let from = from.map(str::to_owned);
        let noted = JobEvent::RetryAsked { run: run.to_owned(), from: from.clone() };
        self.ask(run, Event::RetryAsked { from }, noted).await
    }

    /// Says how a task ended: succeeded, failed or skipped. What was skipped because it had not
    /// succeeded then runs.
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such run or task, the task is running, or the state is another.
    pub async fn mark(&self, run: &str, task: &str, state: State) -> Result<()> {
        let noted = JobEvent::Marked { run: run.to_owned(), task: task.to_owned(), state };
        self.ask(run, Event::Marked { task: task.to_owned(), state }, noted).await
    }

    /// Holds the schedule of a job. Runs that there are go on, and people can ask for more.
    pub async fn pause(&self, job: &str) -> Result<()> {
        self.set_paused(job, true).await
    }

    /// Lets the schedule of a job go on. Fires it missed are treated as `catch_up` says.
    pub async fn resume(&self, job: &str) -> Result<()> {
        self.set_paused(job, false).await
    }

    /// The days from `first` to `last`, each with the run about it; unless it is a preview, each run
    /// is asked for, oldest first, or run anew if it has ended (S20).
    ///
    /// # Errors
    ///
    /// `Invalid` when there is no such job, the days are none, too many, or still to come.
    pub async fn backfill(
        &self,
        job: &str,
        first: Day,
        last: Day,
        preview: bool,
    ) -> Result<Vec<BackfillDay>> {
        let definition = self.definition(job)?;
        let days = self.check_days(first, last)?;
        let mut planned = Vec::with_capacity(days.len());
        for day in &days {
            let run = backfill_id(job, *day);
            let state = self.archive.run(&run).await?.map(|run| run.state);
            planned.push(BackfillDay { day: day.to_string(), run, state });
        }
        if preview {
            return Ok(planned);
        }
        check_room(&*self.board().await?, days.len())?;
        for day in days {
            let (id, period) = (backfill_id(job, day), period_of(day));
            // The lock is taken for each day, so that the loop goes on meanwhile.
            let mut board = self.board().await?;
            self.make_run(&mut board, definition, Trigger::Backfill, id, period).await?;
        }
        self.wake.notify_one();
        Ok(planned)
    }

    fn check_days(&self, first: Day, last: Day) -> Result<Vec<Day>> {
        let today = self.env.clock.now().day();
        if first > last {
            return Err(Error::invalid(format!("{first} is later than {last}")));
        }
        if last > today {
            return Err(Error::invalid(format!("{last} is still to come"))
                .with_detail(format!("Today is {today} (UTC).")));
        }
        if last.0.saturating_sub(first.0) >= BACKFILL_DAYS_MAX {
            let days = i64::from(last.0) - i64::from(first.0) + 1;
            return Err(Error::invalid(format!("{first} to {last} is {days} days"))
                .with_hint(format!("Back-fill at most {BACKFILL_DAYS_MAX} days at a time.")));
        }
        Ok((first.0..=last.0).map(Day).collect())
    }

    async fn set_paused(&self, job: &str, paused: bool) -> Result<()> {
        self.definition(job)?;
        let mut board = self.board().await?;
        loop {
            let Some(mut kept) = board.jobs.get(job).cloned() else {
                return Err(Error::internal(format!("job `{job}` is not on the board")));
            };
            if kept.record.paused == paused {
                return Ok(());
            }
            kept.record.paused = paused;
            match self.save_job(&mut board, job, kept).await {
                Ok(()) => break,
                // It has been read again.
                Err(error) if error.kind == ErrorKind::Fenced => {}
                Err(error) => return Err(error),
            }
        }
        self.note(job, if paused { JobEvent::Paused } else { JobEvent::Resumed }).await;
        self.wake.notify_one();
        Ok(())
    }

    /// Lets an event happen to a run, whether it has ended or not.
    async fn ask(&self, id: &str, event: Event, noted: JobEvent) -> Result<()> {
        let mut board = self.board().await?;
        let job = if let Some(kept) = board.runs.get(id) {
            let job = kept.record.job.clone();
            self.change(&mut board, id, &event).await?;
            job
        } else {
            let mut run = self.archive.ended_run(id).await?.ok_or_else(|| no_such_run(id))?;
            self.definition(&run.job)?;
            self.observe(&mut run, event)?;
            let job = run.job.clone();
            if run.state.has_ended() {
                self.archive.put_ended(&run).await?;
            } else {
                let version = self.archive.reopen(&run).await?;
                board.runs.insert(id.to_owned(), Kept { record: run, version });
            }
            job
        };
        self.note(&job, noted).await;
        self.wake.notify_one();
        Ok(())
    }
}

fn period_of(day: Day) -> Period {
    Period { start: day.start(), end: day.end() }
}

/// The period that ended last: of the schedule, or yesterday.
fn last_period(definition: &JobDefinition, now: Timestamp) -> Period {
    let by_schedule = definition.schedule.as_ref().and_then(|schedule| {
        let fire = schedule.previous(Timestamp(now.0.saturating_add(1)))?;
        schedule.period(fire)
    });
    by_schedule.unwrap_or_else(|| period_of(Day(now.day().0.saturating_sub(1))))
}

fn check_room(board: &Board, more: usize) -> Result<()> {
    if board.runs.len() + more > OPEN_RUNS_MAX {
        return Err(Error::invalid(format!("{} runs have not ended yet", board.runs.len()))
            .with_detail(format!("At most {OPEN_RUNS_MAX} can wait at once."))
            .with_hint("Wait for some to end, or cancel them."));
    }
    Ok(())
}
