//! The stamps of a schema: table `thalweg_stamps`, one row per target and pipeline (S9).
//!
//! | column | type | |
//! |---|---|---|
//! | `target` | `text` | the table's name, without its schema |
//! | `pipeline` | `text` | who writes to it |
//! | `incarnation` | `text` | id made with the data folder |
//! | `epoch` | `bigint` | the last epoch the target holds |
//! | `rows_written` | `bigint` | rows that all commits of the pipeline have put or deleted |
//! | `rows_superseded` | `bigint` | rows replaced within a commit by a later row of the same key |
//!
//! Invariants: a stamp moves in the transaction that writes the rows it speaks of, and only from the
//! very stamp the writer last saw. So of two writers one is fenced, even one that handed over the
//! same rows. Whoever reads a stamp holds the pipeline's lock, so a commit whose answer was lost
//! has come to its end before.

use sqlx::{AssertSqlSafe, Row as _};
use thalweg_core::sink::{Committed, Stamp};
use thalweg_core::{Error, Result};

use super::session::{Session, Statement};
use super::target::{Target, quoted};

/// The stamp of one pipeline in one target.
pub(super) struct StampRow {
    target: Target,
    pipeline: String,
    sql_table: String,
}

impl StampRow {
    pub(super) fn new(target: Target, pipeline: &str) -> Self {
        let sql_table = format!("{}.thalweg_stamps", quoted(&target.schema));
        Self { target, pipeline: pipeline.to_owned(), sql_table }
    }

    /// Keeps others from committing to or reading this stamp until the transaction ends.
    pub(super) async fn lock(&self, session: &mut Session) -> Result<()> {
        session.lock(format!("thalweg stamp of {} by {}", self.target, self.pipeline)).await
    }

    /// Makes the table of stamps if there is none.
    ///
    /// It is looked for first, because `IF NOT EXISTS` asks for the right to create even if it
    /// does exist.
    pub(super) async fn ensure_table(&self, session: &mut Session) -> Result<()> {
        let stamps =
            Target { schema: self.target.schema.clone(), table: "thalweg_stamps".to_owned() };
        if stamps.find(session).await?.is_some() {
            return Ok(());
        }
        let create = sqlx::query(AssertSqlSafe(format!(
            "CREATE TABLE {} (target text NOT NULL, pipeline text NOT NULL, \
             incarnation text NOT NULL, epoch bigint NOT NULL, rows_written bigint NOT NULL, \
             rows_superseded bigint NOT NULL, PRIMARY KEY (target, pipeline))",
            self.sql_table
        )));
        let create = create.persistent(false);
        session.execute(&format!("making table `{stamps}`"), create).await.map(drop)
    }

    /// The stamp, if there is one, and what all commits up to it have done.
    pub(super) async fn read(&self, session: &mut Session) -> Result<Option<(Stamp, Committed)>> {
        let query = self.statement(
            "SELECT incarnation, epoch, rows_written, rows_superseded FROM",
            "WHERE target = $1 AND pipeline = $2",
        );
        let rows = session.fetch("reading the stamp", query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let number = |column: usize| {
            let number: i64 = row.try_get(column).map_err(Session::misread)?;
            u64::try_from(number).map_err(|_| {
                Error::invalid(format!("the stamp of `{}` has a negative number", self.target))
            })
        };
        let stamp = Stamp {
            incarnation: row.try_get(0).map_err(Session::misread)?,
            pipeline: self.pipeline.clone(),
            epoch: number(1)?,
        };
        Ok(Some((stamp, Committed { rows_written: number(2)?, rows_superseded: number(3)? })))
    }

    /// Moves the stamp from `held`, what this writer saw last, to `next`; `Fenced` when it is not
    /// there any more.
    pub(super) async fn advance(
        &self,
        session: &mut Session,
        held: Option<&Stamp>,
        next: &Stamp,
    ) -> Result<()> {
        let epoch = bigint(next.epoch)?;
        let moving = match held {
            None => self
                .statement("INSERT INTO", "VALUES ($1, $2, $3, $4, 0, 0) ON CONFLICT DO NOTHING")
                .bind(next.incarnation.clone())
                .bind(epoch),
            Some(held) => self
                .statement(
                    "UPDATE",
                    "SET epoch = $4 WHERE target = $1 AND pipeline = $2 AND incarnation = $3 \
                     AND epoch = $5 AND epoch < $4",
                )
                .bind(next.incarnation.clone())
                .bind(epoch)
                .bind(bigint(held.epoch)?),
        };
        if session.execute("moving the stamp", moving).await? == 1 {
            return Ok(());
        }
        let found = match self.read(session).await? {
            Some((found, _)) => {
                format!("epoch {} of incarnation {}", found.epoch, found.incarnation)
            }
            None => "none".to_owned(),
        };
        let expected = match held {
            Some(held) => format!("epoch {} of incarnation {}", held.epoch, next.incarnation),
            None => "none".to_owned(),
        };
        Err(Error::fenced(format!("another writer has written to `{}`", self.target))
            .with_detail(format!(
                "Stamp of pipeline `{}`: expected {expected}, found {found}.",
                self.pipeline
            ))
            .with_hint("Stop the other writer, or look at `thalweg sinks list`."))
    }

    /// Adds what a commit did, in its transaction.
    pub(super) async fn count(&self, session: &mut Session, committed: Committed) -> Result<()> {
        let count = self
            .statement(
                "UPDATE",
                "SET rows_written = rows_written + $3, rows_superseded = rows_superseded + $4 \
                 WHERE target = $1 AND pipeline = $2",
            )
            .bind(bigint(committed.rows_written)?)
            .bind(bigint(committed.rows_superseded)?);
        session.execute("counting the rows", count).await.map(drop)
    }

    /// Sets the stamp to `stamp`, whatever it was, and what its commits have done to `total`.
    pub(super) async fn set(
        &self,
        session: &mut Session,
        stamp: &Stamp,
        total: Committed,
    ) -> Result<()> {
        let set = self.statement(
            "INSERT INTO",
            "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (target, pipeline) \
             DO UPDATE SET incarnation = excluded.incarnation, epoch = excluded.epoch, \
             rows_written = excluded.rows_written, rows_superseded = excluded.rows_superseded",
        );
        let set = set.bind(stamp.incarnation.clone()).bind(bigint(stamp.epoch)?);
        let set = set.bind(bigint(total.rows_written)?).bind(bigint(total.rows_superseded)?);
        session.execute("setting the stamp", set).await.map(drop)
    }

    /// Removes the stamp.
    pub(super) async fn remove(&self, session: &mut Session) -> Result<()> {
        let remove = self.statement("DELETE FROM", "WHERE target = $1 AND pipeline = $2");
        session.execute("removing the stamp", remove).await.map(drop)
    }

    /// Pipelines other than this one that have written to the target.
    pub(super) async fn other_pipelines(&self, session: &mut Session) -> Result<Vec<String>> {
        let query = self.statement(
            "SELECT pipeline FROM",
            "WHERE target = $1 AND pipeline <> $2 ORDER BY pipeline",
        );
        let rows = session.fetch("reading the stamps", query).await?;
        rows.iter().map(|row| row.try_get(0).map_err(Session::misread)).collect()
    }

    /// `{verb} thalweg_stamps {rest}`, with the target as `$1` and the pipeline as `$2`.
    fn statement(&self, verb: &str, rest: &str) -> Statement {
        sqlx::query(AssertSqlSafe(format!("{verb} {} {rest}", self.sql_table)))
            .bind(self.target.table.clone())
            .bind(self.pipeline.clone())
    }
}

fn bigint(number: u64) -> Result<i64> {
    i64::try_from(number)
        .map_err(|_| Error::internal(format!("the number {number} does not fit a bigint")))
}
