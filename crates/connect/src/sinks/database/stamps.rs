//! The stamps of a schema: table `thalweg_stamps`, one row per target and pipeline (S9).
//!
//! | column | type | |
//! |---|---|---|
//! | `target` | text | the table's name, without its schema |
//! | `pipeline` | text | who writes to it |
//! | `incarnation` | text | id made with the data folder |
//! | `epoch` | bigint | the last epoch the target holds |
//! | `rows_written` | bigint | rows that all commits of the pipeline have put or deleted |
//! | `rows_superseded` | bigint | rows replaced within a commit by a later row of the same key |
//!
//! Invariants: a stamp moves in the transaction that writes the rows it speaks of, and only from the
//! very stamp the writer last saw. So of two writers one is fenced, even one that handed over the
//! same rows. Whoever reads a stamp holds the pipeline's lock or the lock of its row, so a commit
//! whose answer was lost has come to its end before.

use thalweg_core::sink::{Committed, Stamp};
use thalweg_core::{Error, Result};

use super::kind::Kind;
use super::server::{Session, Sql, Target, TargetColumn, Value};

/// Name of the table of stamps.
const TABLE: &str = "thalweg_stamps";

/// The stamp of one pipeline in one target.
pub(super) struct StampRow {
    target: Target,
    pipeline: String,
}

impl StampRow {
    pub(super) fn new(target: Target, pipeline: &str) -> Self {
        Self { target, pipeline: pipeline.to_owned() }
    }

    /// Makes the table of stamps if there is none.
    ///
    /// It is looked for first, because `IF NOT EXISTS` asks for the right to create even if it
    /// does exist.
    pub(super) async fn ensure_table(&self, session: &mut dyn Session) -> Result<()> {
        let stamps = self.table();
        if session.find(&stamps).await? {
            return Ok(());
        }
        let column =
            |name: &str, kind| TargetColumn { name: name.to_owned(), kind, nullable: false };
        let columns = [
            column("target", Kind::Text),
            column("pipeline", Kind::Text),
            column("incarnation", Kind::Text),
            column("epoch", Kind::Bigint),
            column("rows_written", Kind::Bigint),
            column("rows_superseded", Kind::Bigint),
        ];
        session.create(&stamps, &columns, &["target".to_owned(), "pipeline".to_owned()]).await
    }

    /// The stamp, if there is one, and what all commits up to it have done. Its row is locked until
    /// the transaction ends.
    pub(super) async fn read(
        &self,
        session: &mut dyn Session,
    ) -> Result<Option<(Stamp, Committed)>> {
        let query = self.statement(
            session,
            "SELECT incarnation, epoch, rows_written, rows_superseded FROM",
            "WHERE target = ? AND pipeline = ? FOR UPDATE",
            vec![self.target(), self.pipeline()],
        );
        let rows = session.fetch("reading the stamp", query).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let number = |number: &i64| {
            u64::try_from(*number).map_err(|_| {
                Error::invalid(format!("the stamp of `{}` has a negative number", self.target))
            })
        };
        let [
            Value::Text(incarnation),
            Value::Number(epoch),
            Value::Number(written),
            Value::Number(superseded),
        ] = row.as_slice()
        else {
            return Err(misshapen());
        };
        let stamp = Stamp {
            incarnation: incarnation.clone(),
            pipeline: self.pipeline.clone(),
            epoch: number(epoch)?,
        };
        let total =
            Committed { rows_written: number(written)?, rows_superseded: number(superseded)? };
        Ok(Some((stamp, total)))
    }

    /// Moves the stamp from `held`, what this writer saw last, to `next`; `Fenced` when it is not
    /// there any more.
    pub(super) async fn advance(
        &self,
        session: &mut dyn Session,
        held: Option<&Stamp>,
        next: &Stamp,
    ) -> Result<()> {
        let incarnation = Value::Text(next.incarnation.clone());
        let epoch = bigint(next.epoch)?;
        let moving = match held {
            None => {
                let (insert, unless_there) = session.dialect().insert_new;
                self.statement(
                    session,
                    &format!("{insert} INTO"),
                    &format!("VALUES (?, ?, ?, ?, 0, 0){unless_there}"),
                    vec![self.target(), self.pipeline(), incarnation, epoch],
                )
            }
            Some(held) => self.statement(
                session,
                "UPDATE",
                "SET epoch = ? WHERE target = ? AND pipeline = ? AND incarnation = ? \
                 AND epoch = ? AND epoch < ?",
                vec![
                    epoch.clone(),
                    self.target(),
                    self.pipeline(),
                    incarnation,
                    bigint(held.epoch)?,
                    epoch,
                ],
            ),
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
    pub(super) async fn count(
        &self,
        session: &mut dyn Session,
        committed: Committed,
    ) -> Result<()> {
        let count = self.statement(
            session,
            "UPDATE",
            "SET rows_written = rows_written + ?, rows_superseded = rows_superseded + ? \
             WHERE target = ? AND pipeline = ?",
            vec![
                bigint(committed.rows_written)?,
                bigint(committed.rows_superseded)?,
                self.target(),
                self.pipeline(),
            ],
        );
        session.execute("counting the rows", count).await.map(drop)
    }

    /// Sets the stamp to `stamp`, whatever it was, and what its commits have done to `total`.
    pub(super) async fn set(
        &self,
        session: &mut dyn Session,
        stamp: &Stamp,
        total: Committed,
    ) -> Result<()> {
        self.remove(session).await?;
        let set = self.statement(
            session,
            "INSERT INTO",
            "VALUES (?, ?, ?, ?, ?, ?)",
            vec![
                self.target(),
                self.pipeline(),
                Value::Text(stamp.incarnation.clone()),
                bigint(stamp.epoch)?,
                bigint(total.rows_written)?,
                bigint(total.rows_superseded)?,
            ],
        );
        session.execute("setting the stamp", set).await.map(drop)
    }

    /// Removes the stamp.
    pub(super) async fn remove(&self, session: &mut dyn Session) -> Result<()> {
        let remove = self.statement(
            session,
            "DELETE FROM",
            "WHERE target = ? AND pipeline = ?",
            vec![self.target(), self.pipeline()],
        );
        session.execute("removing the stamp", remove).await.map(drop)
    }

    /// Pipelines other than this one that have written to the target.
    pub(super) async fn other_pipelines(&self, session: &mut dyn Session) -> Result<Vec<String>> {
        let query = self.statement(
            session,
            "SELECT pipeline FROM",
            "WHERE target = ? AND pipeline <> ? ORDER BY pipeline",
            vec![self.target(), self.pipeline()],
        );
        let rows = session.fetch("reading the stamps", query).await?;
        let name = |row: Vec<Value>| match row.into_iter().next() {
            Some(Value::Text(name)) => Ok(name),
            _ => Err(misshapen()),
        };
        rows.into_iter().map(name).collect()
    }

    fn table(&self) -> Target {
        Target { schema: self.target.schema.clone(), table: TABLE.to_owned() }
    }

    fn target(&self) -> Value {
        Value::Text(self.target.table.clone())
    }

    fn pipeline(&self) -> Value {
        Value::Text(self.pipeline.clone())
    }

    /// `{verb} thalweg_stamps {rest}`
    fn statement(
        &self,
        session: &mut dyn Session,
        verb: &str,
        rest: &str,
        values: Vec<Value>,
    ) -> Sql {
        let dialect = session.dialect();
        Sql::new(dialect, format!("{verb} {} ", self.table().sql(dialect)), rest, values)
    }
}

fn bigint(number: u64) -> Result<Value> {
    i64::try_from(number)
        .map(Value::Number)
        .map_err(|_| Error::internal(format!("the number {number} does not fit a bigint")))
}

fn misshapen() -> Error {
    Error::invalid(format!("table `{TABLE}` has another shape than thalweg gives it"))
        .with_hint("Bring it back as it was, or drop it and run `thalweg sinks reset`.")
}
