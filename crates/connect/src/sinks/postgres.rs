//! PostgreSQL: rows into a table, exactly once in effect (S9).
//!
//! Rows are staged in memory as they are handed over. A commit is one transaction: it moves the
//! pipeline's stamp in `thalweg_stamps`, a table beside the target, and writes the rows. So the
//! target holds either both or neither, and says which after any crash. The stamp moves only from
//! where this sink last saw it; a second writer that was there first fences this one.
//!
//! Invariants: nothing of a commit is visible before all of it; a connection that saw an error, or
//! whose call was dropped half way, is never used again; the password is in no error, log line or
//! `Debug` text.
//!
//! Types are in `kind`, their bytes in `arrays`, rows before the commit in `staged`, the table in
//! `target`, stamps in `stamps`, connections and what their errors mean in `session`. Retry is not
//! here: it wraps any sink.

mod arrays;
mod kind;
mod session;
mod staged;
mod stamps;
mod target;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use thalweg_core::sink::{Committed, Epoch, Guarantee, Sink, Stamp};
use thalweg_core::{Error, Result};

use self::arrays::ArrayParameter;
use self::session::{Server, Session};
use self::staged::{Chunks, LastPerKey, Layout, Position, Staged};
use self::stamps::StampRow;
use self::target::{TableName, Target, TargetColumn};

/// Column that says what a row of an updating stream does; `text`.
const OPERATION: &str = "_op";
/// Column that says in which epoch a row of a changelog was handed over; `bigint`.
const EPOCH: &str = "_epoch";
/// Value of `_op` in a row that deletes its key.
const OPERATION_DELETE: &str = "delete";
/// Value of `_op` in a changelog of rows that have none.
const OPERATION_INSERT: &str = "insert";

/// A table in a PostgreSQL server, version 12 or later.
#[derive(Clone)]
pub struct PostgresConfig {
    /// `postgres://user:password@host:5432/database`, with `?sslmode=require` for TLS. A secret:
    /// it is never shown.
    pub url: String,
    /// `table` or `schema.table`, taken as written, upper case included. A bare name is looked for
    /// in the first schema of the user's search path. It is made when absent.
    pub table: String,
    /// What a row does to the table.
    pub mode: Mode,
    /// Longest wait for a connection. Default 10 s.
    pub connect_timeout: Duration,
    /// Longest time one statement may take, waits for locks included; a commit has one statement
    /// per 10,000 rows. Default 30 s, at least 1 ms.
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
    /// It is added, with what it does in `_op` (`text`; `insert` where the stream has no operations)
    /// and its epoch in `_epoch` (`bigint`).
    Changelog,
}

impl PostgresConfig {
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

impl fmt::Debug for PostgresConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConfig")
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
pub struct PostgresSink {
    server: Server,
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
    session: Session,
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

impl PostgresSink {
    /// Makes a sink for rows of `schema`, handed over by `pipeline`. Nothing is connected yet.
    ///
    /// # Errors
    ///
    /// `Invalid`, listing what is wrong, when URL, table name, key and schema do not fit together.
    pub fn new(config: PostgresConfig, pipeline: &str, schema: SchemaRef) -> Result<Self> {
        Ok(Self {
            server: Server::new(&config.url, config.connect_timeout, config.statement_timeout)?,
            table: TableName::parse(&config.table)?,
            layout: Layout::new(schema, &config.mode)?,
            key: match config.mode {
                Mode::Upsert { key } => key,
                Mode::Append | Mode::Changelog => Vec::new(),
            },
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
        self.ensure_table(&mut opened.session, &opened.target, None).await?;
        opened.stamp_row.set(&mut opened.session, stamp, total).await?;
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
        let others = stamp_row.other_pipelines(&mut session).await?;
        if !others.is_empty() {
            return Err(Error::invalid(format!("table `{target}` also holds rows of others"))
                .with_detail(format!("Pipelines that write to it: {}.", others.join(", ")))
                .with_hint("Reset them as well by dropping the table and its stamps by hand."));
        }
        if target.find(&mut session).await?.is_some() {
            let delete = sqlx::query(AssertSqlSafe(format!("DELETE FROM {}", target.sql())));
            session.execute("emptying the table", delete).await?;
        }
        stamp_row.remove(&mut session).await?;
        session.commit().await
    }

    /// Connects, begins a transaction, waits until no other writer of the pipeline is at work, and
    /// reads the stamp.
    async fn begin(&self) -> Result<Opened> {
        let mut session = self.server.connect().await?;
        session.begin().await?;
        let target = self.table.resolve(&mut session).await?;
        let stamp_row = StampRow::new(target.clone(), &self.pipeline);
        // First the pipeline's lock, which may be held for long, then the schema's, which is not.
        stamp_row.lock(&mut session).await?;
        session.lock(format!("thalweg sinks of {}", target.schema)).await?;
        stamp_row.ensure_table(&mut session).await?;
        let held = stamp_row.read(&mut session).await?;
        let total = held.as_ref().map_or_else(Committed::default, |(_, total)| *total);
        Ok(Opened { session, target, stamp_row, held: held.map(|(stamp, _)| stamp), total })
    }

    /// Makes the table or checks it. One that is gone although `held` says it holds something is
    /// not made anew: its rows would be missing for ever.
    async fn ensure_table(
        &self,
        session: &mut Session,
        target: &Target,
        held: Option<&Stamp>,
    ) -> Result<()> {
        let columns = &self.layout.columns;
        match (target.find(session).await?, held) {
            (Some(table), _) => target.check(session, table, columns, &self.key).await,
            (None, None) => target.create(session, columns, &self.key).await,
            (None, Some(stamp)) => {
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
        session.begin().await?;
        stamp_row.lock(session).await?;
        stamp_row.advance(session, held.as_ref(), stamp).await?;

        let columns = &self.layout.columns;
        let insert = target.insert(columns, &self.key);
        let batches: Vec<RecordBatch> =
            self.staged.iter().map(|staged| staged.rows.clone()).collect();
        let mut committed = Committed::default();
        if self.key.is_empty() {
            let all = staged::positions(&batches);
            committed.rows_written = send(session, &insert, columns, &batches, all).await?;
        } else {
            let last = LastPerKey::of(&self.staged, &self.layout.key)?;
            let key_columns: Vec<TargetColumn> =
                self.layout.key.iter().map(|number| columns[*number].clone()).collect();
            let keys: Vec<RecordBatch> = batches
                .iter()
                .map(|batch| batch.project(&self.layout.key))
                .collect::<Result<_, _>>()
                .map_err(|error| {
                    Error::internal("a key could not be cut out").with_source(error)
                })?;
            committed.rows_superseded = last.superseded;
            committed.rows_written = last.deletes.len() as u64;
            let delete = target.delete(&key_columns);
            send(session, &delete, &key_columns, &keys, last.deletes.into_iter()).await?;
            committed.rows_written +=
                send(session, &insert, columns, &batches, last.puts.into_iter()).await?;
        }
        stamp_row.count(session, committed).await?;
        session.commit().await?;
        Ok(committed)
    }
}

/// Runs a statement once per chunk of the rows at `positions`; returns the rows the server reports.
async fn send(
    session: &mut Session,
    sql: &str,
    columns: &[TargetColumn],
    batches: &[RecordBatch],
    positions: impl Iterator<Item = Position> + Send,
) -> Result<u64> {
    let mut rows = 0;
    for chunk in Chunks::new(batches, positions) {
        let chunk = chunk?;
        let mut statement = sqlx::query(AssertSqlSafe(sql.to_owned()));
        for (column, values) in columns.iter().zip(chunk.columns()) {
            statement =
                statement.bind(ArrayParameter { kind: column.kind, values: Arc::clone(values) });
        }
        rows += session.execute("writing rows", statement).await?;
    }
    Ok(rows)
}

#[async_trait]
impl Sink for PostgresSink {
    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn open(&mut self) -> Result<Option<Stamp>> {
        self.discard().await;
        self.opened = None;
        let mut opened = self.begin().await?;
        let held = opened.held.clone();
        self.ensure_table(&mut opened.session, &opened.target, held.as_ref()).await?;
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
        let (staged, changed) = self.layout.stage(epoch, rows)?;
        if changed > 0 {
            tracing::warn!(
                table = %opened.target,
                values = changed,
                "PostgreSQL has no place for some values: NUL in text became U+FFFD, times out \
                 of range became infinite"
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
