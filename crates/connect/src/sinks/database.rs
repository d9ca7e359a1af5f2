//! Rows into a table of a database, exactly once in effect (S9): what every database sink does.
//!
//! Rows are staged in memory as they are handed over. A commit is one transaction: it moves the
//! pipeline's stamp in `thalweg_stamps`, a table beside the target, and writes the rows. So the
//! target holds either both or neither, and says which after any crash. The stamp moves only from
//! where this sink last saw it; a second writer that was there first fences this one.
//!
//! Invariants: nothing of a commit is visible before all of it; a connection that saw an error, or
//! whose call was dropped half way, is never used again; the password is in no error, log line or
//! `Debug` text. A sink has one connection, and no pool.
//!
//! Types are in `kind`, columns in `layout`, rows before the commit in `staged`, stamps in `stamps`,
//! URLs and deadlines in `address`. What each kind of server does its own way is named in `server`
//! and done in `sinks::postgres` and `sinks::mysql`. Retry is not here: it wraps any sink.

pub(in crate::sinks) mod address;
pub(in crate::sinks) mod kind;
mod layout;
pub(in crate::sinks) mod server;
mod staged;
mod stamps;

use std::fmt;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use thalweg_core::sink::{Committed, Epoch, Guarantee, Sink, Stamp};
use thalweg_core::{Error, Result};

use self::layout::Layout;
use self::server::{Server, Session, Sql, TableName, Target, TargetColumn};
use self::staged::{Chunks, LastPerKey, Staged};
use self::stamps::StampRow;

/// Column that says what a row of an updating stream does; text.
const OPERATION: &str = "_op";
/// Column that says in which epoch a row of a changelog was handed over; bigint.
const EPOCH: &str = "_epoch";
/// Value of `_op` in a row that deletes its key.
const OPERATION_DELETE: &str = "delete";
/// Value of `_op` in a changelog of rows that have none.
const OPERATION_INSERT: &str = "insert";

/// A table of a database.
#[derive(Clone)]
pub struct DatabaseConfig {
    /// `postgres://` or `mysql://user:password@host:port/database`, with what the server's module
    /// says of TLS. A secret: it is never shown.
    pub url: String,
    /// `table` or `schema.table`, taken as written, upper case included. A bare name is looked for
    /// in the connection's own schema. It is made when absent.
    pub table: String,
    /// What a row does to the table.
    pub mode: Mode,
    /// Longest wait for a connection. Default 10 s.
    pub connect_timeout: Duration,
    /// Longest time one statement may take, waits for locks included; a commit has at least one
    /// statement per 10,000 rows. Default 30 s, at least 1 ms.
    pub statement_timeout: Duration,
}

/// What a row does to the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is added.
    Append,
    /// It takes the place of the row with the same key; with `_op` = `delete` it removes that row.
    /// Of several rows of a commit only the last per key is written. The table has no column `_op`.
    Upsert {
        /// Columns that tell rows apart, at least one; never null. The table must have a primary
        /// key or unique constraint on just these.
        key: Vec<String>,
    },
    /// It is added, with what it does in `_op` (text; `insert` where the stream has no operations)
    /// and its epoch in `_epoch` (bigint).
    Changelog,
}

impl DatabaseConfig {
    /// A configuration with the default time limits.
    pub fn new(url: impl Into<String>, table: impl Into<String>, mode: Mode) -> Self {
        Self {
            url: url.into(),
            table: table.into(),
            mode,
            connect_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(30),
        }
    }
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("url", &"(secret)")
            .field("table", &self.table)
            .field("mode", &self.mode)
            .field("connect_timeout", &self.connect_timeout)
            .field("statement_timeout", &self.statement_timeout)
            .finish()
    }
}

/// Writes the rows of one pipeline to one table.
///
/// Rows handed over are held in memory until their commit: the caller bounds what it hands over
/// between commits. A delete counts as written whether or not the table had its key.
pub struct DatabaseSink {
    server: Box<dyn Server>,
    table: TableName,
    key: Vec<String>,
    layout: Layout,
    pipeline: String,
    staged: Vec<Staged>,
    staged_through: Option<Epoch>,
    opened: Option<Opened>,
}

/// What a sink knows of its target between calls. It is taken out for the length of a call and put
/// back only when all went well, so that an error or a dropped call ends it.
struct Opened {
    session: Box<dyn Session>,
    target: Target,
    stamp_row: StampRow,
    held: Option<Stamp>,
    /// What all commits up to `held` have done.
    total: Committed,
}

impl Opened {
    fn held_epoch(&self) -> Epoch {
        self.held.as_ref().map_or(0, |stamp| stamp.epoch)
    }
}

impl DatabaseSink {
    /// Makes a sink for rows of `schema`, handed over by `pipeline`. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// `Invalid`, listing what is wrong, when table name, key and schema do not fit together.
    pub(in crate::sinks) fn new(
        server: Box<dyn Server>,
        config: DatabaseConfig,
        pipeline: &str,
        schema: SchemaRef,
    ) -> Result<Self> {
        Ok(Self {
            table: TableName::parse(&config.table, server.as_ref())?,
            layout: Layout::new(schema, &config.mode, server.as_ref())?,
            key: match config.mode {
                Mode::Upsert { key } => key,
                Mode::Append | Mode::Changelog => Vec::new(),
            },
            server,
            pipeline: pipeline.to_owned(),
            staged: Vec::new(),
            staged_through: None,
            opened: None,
        })
    }

    /// Takes over a target that holds a foreign stamp: its rows stay, and from now on it counts as
    /// holding everything up to `stamp`, by commits that have done `total`. The caller opens the
    /// sink afterwards.
    ///
    /// # Errors
    ///
    /// As [`Sink::open`].
    pub async fn adopt(&mut self, stamp: &Stamp, total: Committed) -> Result<()> {
        self.opened = None;
        let mut opened = self.begin().await?;
        self.ensure_table(opened.session.as_mut(), &opened.target, None).await?;
        opened.stamp_row.set(opened.session.as_mut(), stamp, total).await?;
        opened.session.commit().await
    }

    /// Empties the target and forgets its stamp, so that the pipeline can write everything again.
    /// The caller opens the sink afterwards.
    ///
    /// # Errors
    ///
    /// As [`Sink::open`]; `Invalid` when other pipelines have written to the table too.
    pub async fn reset(&mut self) -> Result<()> {
        self.opened = None;
        let Opened { mut session, target, stamp_row, .. } = self.begin().await?;
        let others = stamp_row.other_pipelines(session.as_mut()).await?;
        if !others.is_empty() {
            return Err(Error::invalid(format!("table `{target}` also holds rows of others"))
                .with_detail(format!("Pipelines that write to it: {}.", others.join(", ")))
                .with_hint("Reset them as well by dropping the table and its stamps by hand."));
        }
        if session.find(&target).await? {
            let delete = Sql::plain(format!("DELETE FROM {}", target.sql(session.dialect())));
            session.execute("emptying the table", delete).await?;
        }
        stamp_row.remove(session.as_mut()).await?;
        session.commit().await
    }

    /// Connects, begins a transaction, waits until no other writer of the pipeline is at work, and
    /// reads the stamp.
    async fn begin(&self) -> Result<Opened> {
        let mut session = self.server.connect().await?;
        session.begin().await?;
        let target = self.table.resolve(session.as_mut()).await?;
        session.hold(&target, &self.pipeline).await?;
        session.hold_schema(&target).await?;
        let stamp_row = StampRow::new(target.clone(), &self.pipeline);
        stamp_row.ensure_table(session.as_mut()).await?;
        let held = stamp_row.read(session.as_mut()).await?;
        let total = held.as_ref().map_or_else(Committed::default, |(_, total)| *total);
        Ok(Opened { session, target, stamp_row, held: held.map(|(stamp, _)| stamp), total })
    }

    /// Makes the table or checks it. One that is gone although `held` says it holds something is
    /// not made anew: its rows would be missing for ever.
    async fn ensure_table(
        &self,
        session: &mut dyn Session,
        target: &Target,
        held: Option<&Stamp>,
    ) -> Result<()> {
        let columns = &self.layout.columns;
        match (session.find(target).await?, held) {
            (true, _) => check(session, target, columns, &self.key).await,
            (false, None) => session.create(target, columns, &self.key).await,
            (false, Some(stamp)) => {
                Err(Error::invalid(format!("table `{target}` is gone, but its stamp is not"))
                    .with_detail(format!(
                        "Pipeline `{}` has written its epochs up to {} to it.",
                        stamp.pipeline, stamp.epoch
                    ))
                    .with_hint("Bring the table back, or run `thalweg sinks reset`."))
            }
        }
    }

    /// Writes what is staged and the stamp in one transaction.
    async fn write_all(&self, opened: &mut Opened, stamp: &Stamp) -> Result<Committed> {
        let Opened { session, target, stamp_row, held, .. } = opened;
        let session = session.as_mut();
        session.begin().await?;
        session.hold(target, &self.pipeline).await?;
        stamp_row.advance(session, held.as_ref(), stamp).await?;

        let columns = &self.layout.columns;
        let batches: Vec<RecordBatch> =
            self.staged.iter().map(|staged| staged.rows.clone()).collect();
        let mut committed = Committed::default();
        if self.key.is_empty() {
            for chunk in Chunks::new(&batches, staged::positions(&batches)) {
                committed.rows_written += session.insert(target, columns, &[], &chunk?).await?;
            }
        } else {
            let last = LastPerKey::of(&self.staged, &self.layout.key)?;
            committed.rows_superseded = last.superseded;
            committed.rows_written = last.deletes.len() as u64;
            let key_columns: Vec<TargetColumn> =
                self.layout.key.iter().map(|number| columns[*number].clone()).collect();
            for chunk in Chunks::new(&batches, last.deletes.into_iter()) {
                let keys = chunk?.project(&self.layout.key).map_err(staged::misshapen)?;
                session.delete(target, &key_columns, &keys).await?;
            }
            for chunk in Chunks::new(&batches, last.puts.into_iter()) {
                committed.rows_written +=
                    session.insert(target, columns, &self.key, &chunk?).await?;
            }
        }
        stamp_row.count(session, committed).await?;
        session.commit().await?;
        Ok(committed)
    }
}

/// Checks the table against the columns of the rows and the key; the error lists every difference.
async fn check(
    session: &mut dyn Session,
    target: &Target,
    columns: &[TargetColumn],
    key: &[String],
) -> Result<()> {
    let differences = session.differences(target, columns, key).await?;
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(format!("table `{target}` does not fit the rows"))
        .with_detail(format!("{}.", differences.join("; ")))
        .with_hint("Alter the table, or drop it and let it be made, or choose another name."))
}

#[async_trait]
impl Sink for DatabaseSink {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn open(&mut self) -> Result<Option<Stamp>> {
        self.discard().await;
        self.opened = None;
        let mut opened = self.begin().await?;
        let held = opened.held.clone();
        self.ensure_table(opened.session.as_mut(), &opened.target, held.as_ref()).await?;
        opened.session.commit().await?;
        self.opened = Some(opened);
        Ok(held)
    }

    async fn write(&mut self, epoch: Epoch, rows: &RecordBatch) -> Result<()> {
        let Some(opened) = &self.opened else {
            return Err(Error::internal("a sink is written to before it is open"));
        };
        if epoch <= opened.held_epoch() || Some(epoch) < self.staged_through {
            return Err(Error::internal(format!(
                "epoch {epoch} of pipeline `{}` is handed over again to `{}`",
                self.pipeline, opened.target
            )));
        }
        self.staged_through = Some(epoch);
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let (staged, changed) = self.layout.stage(epoch, rows, self.server.as_ref())?;
        if changed > 0 {
            tracing::warn!(
                table = %opened.target,
                values = changed,
                "{} has no place for some values: NUL in text became U+FFFD, times out of range \
                 became infinite",
                self.server.name()
            );
        }
        self.staged.push(staged);
        Ok(())
    }

    async fn commit(&mut self, stamp: &Stamp) -> Result<Committed> {
        let Some(mut opened) = self.opened.take() else {
            return Err(Error::internal("a sink is committed before it is open"));
        };
        if opened.held.as_ref() == Some(stamp) && self.staged.is_empty() {
            self.opened = Some(opened);
            return Ok(Committed::default());
        }
        let in_order =
            stamp.epoch > opened.held_epoch() && Some(stamp.epoch) >= self.staged_through;
        if stamp.pipeline != self.pipeline || !in_order {
            return Err(Error::internal(format!(
                "epoch {} of pipeline `{}` cannot be committed to `{}`",
                stamp.epoch, stamp.pipeline, opened.target
            )));
        }
        let committed = self.write_all(&mut opened, stamp).await?;
        opened.held = Some(stamp.clone());
        opened.total += committed;
        self.opened = Some(opened);
        self.discard().await;
        Ok(committed)
    }

    async fn adopt(&mut self, stamp: &Stamp, total: Committed) -> Result<()> {
        Self::adopt(self, stamp, total).await
    }

    async fn reset(&mut self) -> Result<()> {
        Self::reset(self).await
    }

    async fn discard(&mut self) {
        self.staged.clear();
        self.staged_through = None;
    }

    fn total(&self) -> Option<Committed> {
        self.opened.as_ref().map(|opened| opened.total)
    }
}
