//! The stamps of a schema: table `thalweg_stamps`, one row per target and pipeline (S9).
//!
//! | column | type | |
//! |---|---|---|
//! | `target` | `text` | the table's name, without its schema |
//! | `pipeline` | `text` | who writes to it |
//! | `incarnation` | `text` | id made with the data folder |
//! | `epoch` | `bigint` | the last epoch the target holds |
//!
//! Invariants: a stamp moves in the transaction that writes the rows it speaks of, and only from the
//! very stamp the writer last saw. So of two writers one is fenced, even one that handed over the
//! same rows. Whoever reads a stamp holds the pipeline's lock, so a commit whose answer was lost
//! has come to its end before.

use sqlx::{AssertSqlSafe, Row as _};
use thalweg_core::sink::Stamp;
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
             incarnation text NOT NULL, epoch bigint NOT NULL, PRIMARY KEY (target, pipeline))",
            self.sql_table
        )));
        let create = create.persistent(false);
        session.execute(&format!("making table `{stamps}`"), create).await.map(drop)
    }

    /// The stamp, if there is one.
    pub(super) async fn read(&self, session: &mut Session) -> Result<Option<Stamp>> {
        let query =
            self.statement("SELECT incarnation, epoch FROM", "WHERE target = $1 AND pipeline = $2");
        let rows = session.fetch("reading the stamp", query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let epoch: i64 = row.try_get(1).map_err(Session::misread)?;
        Ok(Some(Stamp {
            incarnation: row.try_get(0).map_err(Session::misread)?,
            pipeline: self.pipeline.clone(),
            epoch: u64::try_from(epoch).map_err(|_| {
                Error::invalid(format!("the stamp of `{}` has a negative epoch", self.target))
            })?,
        }))
    }

    /// Moves the stamp from `held`, what this writer saw last, to `next`; `Fenced` when it is not
    /// there any more.
    pub(super) async fn advance(
        &self,
        session: &mut Session,
        held: Option<&Stamp>,
        next: &Stamp,
    ) -> Result<()> {
        let epoch = epoch_number(next)?;
        let moving = match held {
            None => self
                .statement("INSERT INTO", "VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
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
                .bind(epoch_number(held)?),
        };
        if session.execute("moving the stamp", moving).await? == 1 {
            return Ok(());
        }
        let found = match self.read(session).await? {
            Some(found) => format!("epoch {} of incarnation {}", found.epoch, found.incarnation),
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

    /// Sets the stamp to `stamp`, whatever it was.
    pub(super) async fn set(&self, session: &mut Session, stamp: &Stamp) -> Result<()> {
        let set = self.statement(
            "INSERT INTO",
            "VALUES ($1, $2, $3, $4) ON CONFLICT (target, pipeline) \
             DO UPDATE SET incarnation = excluded.incarnation, epoch = excluded.epoch",
        );
        let set = set.bind(stamp.incarnation.clone()).bind(epoch_number(stamp)?);
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

fn epoch_number(stamp: &Stamp) -> Result<i64> {
    i64::try_from(stamp.epoch)
        .map_err(|_| Error::internal(format!("epoch {} does not fit a bigint", stamp.epoch)))
}
