//! Where the MIX service's state is kept: SQLite or PostgreSQL, with the same tables and statements.
//!
//! A thread of its own owns the connection. Changes go there in order and are written in batches,
//! each a transaction; the gateway hears of it when they are committed, and never waits. The queue
//! has no bound of its own: [`crate::store::Gate`] begins no more changes when many are on the way.
//!
//! One gateway at a time keeps its state there: `owner.rs` holds that.
//!
//! A batch that cannot be written (the disk is full, the server is away) is tried again until it
//! can; meanwhile the gateway is told that nothing can be kept.

use std::thread;
use std::time::Duration;

use futures::TryStreamExt;
use sqlx::any::{AnyConnectOptions, AnyRow};
use sqlx::{AnyConnection, ConnectOptions, Connection, Row};
use tokio::sync::{mpsc, oneshot};

use super::archive::{self, Archive};
use super::owner::{NotOurs, Owner};
use crate::config::{MixConfig, StoreConfig};
use crate::mix::address::StableId;
use crate::mix::archive::{Answer, Question};
use crate::mix::record;
use crate::mix::store::{Change, Snapshot};
use crate::store::StoreEvent;

/// Changes of one transaction at most.
const BATCH: usize = 1_000;
/// A transaction that takes longer has failed: the server may have gone without a word.
const LIMIT: Duration = Duration::from_secs(20);
/// The pause before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the last changes have at the end of the program.
const FAREWELL: Duration = Duration::from_secs(5);

/// What brings the tables from each version to the next. A step that was released never changes.
const STEPS: &[&[&str]] = &[
    &[
        "CREATE TABLE mix_channel (
        service TEXT NOT NULL, channel TEXT NOT NULL, settings TEXT NOT NULL,
        PRIMARY KEY (service, channel))",
        "CREATE TABLE mix_participant (
        service TEXT NOT NULL, channel TEXT NOT NULL, id TEXT NOT NULL, record TEXT NOT NULL,
        PRIMARY KEY (service, channel, id))",
        "CREATE TABLE mix_client (
        service TEXT NOT NULL, channel TEXT NOT NULL, id TEXT NOT NULL, resource TEXT NOT NULL,
        presence TEXT NOT NULL, PRIMARY KEY (service, channel, id, resource))",
    ],
    &[
        "CREATE TABLE mix_message (
            service TEXT NOT NULL, channel TEXT NOT NULL, id TEXT NOT NULL, n BIGINT NOT NULL,
            sent BIGINT NOT NULL, stanza TEXT NOT NULL, PRIMARY KEY (service, channel, id))",
        "CREATE INDEX mix_message_order ON mix_message (service, channel, n)",
    ],
    &["CREATE TABLE offhook_owner (service TEXT PRIMARY KEY, mark TEXT NOT NULL)"],
];

/// Why the state cannot be read at the start.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is not there, not ours to read, or not what it should be.
    #[error("store.url: {place}: {why}{}", what_to_do(why))]
    Database {
        /// Where.
        place: String,
        /// The library's words.
        why: sqlx::Error,
    },
    /// Another gateway has it.
    #[error("store.url: {place}: {why}")]
    NotOurs {
        /// Where.
        place: String,
        /// Who, as far as it is known.
        why: NotOurs,
    },
    /// A later version of the program wrote it.
    #[error(
        "store.url: {place} was written by a later version of the program: its tables have version \
         {found}, and this program knows those up to {known}"
    )]
    Newer {
        /// Where.
        place: String,
        /// The version of the tables.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A record makes no sense.
    #[error("store.url: {place} is damaged: {what}")]
    Damaged {
        /// Where.
        place: String,
        /// What is wrong.
        what: String,
    },
    /// The thread that reads it ended.
    #[error("store.url: {0}: the thread ended")]
    Thread(String),
}

/// SQLite says of a folder that is not there no more than that it cannot open the file (code 14), and
/// of one that is not ours that it is read-only (8).
fn what_to_do(why: &sqlx::Error) -> &'static str {
    let code = why.as_database_error().and_then(|error| error.code());
    match code.as_deref() {
        Some("14") => "; does its folder exist, and may this user write there?",
        Some("8" | "1544") => "; may this user write there?",
        _ => "",
    }
}

/// What the thread is to do.
enum Order {
    Keep(u64, Box<Change>),
    Ask(u64, Question),
}

/// What is heard of the thread.
#[derive(Debug)]
pub enum Heard {
    /// Whether changes are kept.
    Store(StoreEvent),
    /// The answer to the question of this number.
    Answer(u64, Answer),
}

/// The gateway's end.
pub struct Store {
    orders: mpsc::UnboundedSender<Order>,
    /// What is heard.
    pub events: mpsc::UnboundedReceiver<Heard>,
    done: oneshot::Receiver<()>,
}

impl Store {
    /// Opens it, brings its tables up to date and reads all that is kept of the service. The token
    /// tells this start from all others.
    pub async fn start(
        config: &StoreConfig,
        mix: &MixConfig,
        token: String,
    ) -> Result<(Self, Snapshot), StoreError> {
        let (orders, from_gateway) = mpsc::unbounded_channel();
        let (to_gateway, events) = mpsc::unbounded_channel();
        let (opened, opening) = oneshot::channel();
        let (farewell, done) = oneshot::channel();
        let place = config.to_string();
        let ended = StoreError::Thread(place.clone());
        let url = match config {
            StoreConfig::Sqlite { path } => format!("sqlite://{path}?mode=rwc"),
            StoreConfig::Postgres { url, shown: _ } => url.0.clone(),
        };
        let keeper = Keeper {
            url,
            place,
            service: mix.domain.clone(),
            connection: None,
            owner: Owner::new(config, &mix.domain, token),
            archive: Archive::new(mix.archive_days, mix.archive_max),
        };
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(keeper.work(opened, from_gateway, to_gateway));
            let _ = farewell.send(());
        };
        let thread = thread::Builder::new().name("store".to_owned()).spawn(work);
        if thread.is_err() {
            return Err(ended);
        }
        let kept = opening.await.map_err(|_| ended)??;
        let store = Self {
            orders,
            events,
            done,
        };
        Ok((store, kept))
    }

    /// Keeps a change.
    pub fn keep(&self, number: u64, change: Box<Change>) {
        // A thread that is gone keeps nothing, and says nothing: what tells of the change waits.
        let _ = self.orders.send(Order::Keep(number, change));
    }

    /// Reads messages.
    pub fn ask(&self, number: u64, question: Question) {
        let _ = self.orders.send(Order::Ask(number, question));
    }

    /// Gives what is on its way some time to be written.
    pub async fn finish(self) {
        drop(self.orders);
        if tokio::time::timeout(FAREWELL, self.done).await.is_err() {
            tracing::warn!("the last changes could not be kept");
        }
    }
}

/// The thread's end.
struct Keeper {
    url: String,
    place: String,
    service: String,
    connection: Option<AnyConnection>,
    owner: Owner,
    archive: Archive,
}

impl Keeper {
    async fn work(
        mut self,
        opened: oneshot::Sender<Result<Snapshot, StoreError>>,
        mut orders: mpsc::UnboundedReceiver<Order>,
        events: mpsc::UnboundedSender<Heard>,
    ) {
        let read = self.open().await;
        let failed = read.is_err();
        if opened.send(read).is_err() || failed {
            return;
        }
        let (mut ordered, mut batch) = (Vec::new(), Vec::new());
        while orders.recv_many(&mut ordered, BATCH).await > 0 {
            for order in ordered.drain(..) {
                let (number, question) = match order {
                    Order::Keep(number, change) => {
                        batch.push((number, change));
                        continue;
                    }
                    Order::Ask(number, question) => (number, question),
                };
                // What was sent before the question is in the answer.
                if !self.insist(&batch, &events, &orders).await {
                    return;
                }
                batch.clear();
                let answer = Heard::Answer(number, self.answer(&question).await);
                if events.send(answer).is_err() {
                    return;
                }
            }
            if !self.insist(&batch, &events, &orders).await {
                return;
            }
            batch.clear();
            self.sweep().await;
        }
        if let Some(connection) = self.connection.take() {
            let _ = connection.close().await;
        }
    }

    /// Writes until it is written. False if the program ends before.
    async fn insist(
        &mut self,
        batch: &[(u64, Box<Change>)],
        events: &mpsc::UnboundedSender<Heard>,
        orders: &mpsc::UnboundedReceiver<Order>,
    ) -> bool {
        let Some((last, _)) = batch.last() else {
            return true;
        };
        let mut failing = None;
        loop {
            let written = tokio::time::timeout(LIMIT, self.write(batch)).await;
            let error = match written {
                Ok(Ok(())) => break,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            // What is left of the transaction goes with the connection.
            self.connection = None;
            if failing.as_ref() != Some(&error) {
                tracing::warn!(place = self.place, error, "the state cannot be kept");
            }
            if failing.replace(error).is_none()
                && events.send(Heard::Store(StoreEvent::Failing)).is_err()
            {
                return false;
            }
            if orders.is_closed() {
                return false;
            }
            tokio::time::sleep(PAUSE).await;
        }
        if failing.is_some() {
            tracing::warn!(place = self.place, "the state is kept again");
        }
        events.send(Heard::Store(StoreEvent::Kept(*last))).is_ok()
    }

    /// The connection, which holds the lock. Whoever takes it brings it back if it is still good.
    async fn connected(&mut self) -> Result<AnyConnection, NotOurs> {
        if let Some(connection) = self.connection.take() {
            return Ok(connection);
        }
        let mut connection = connect(&self.url).await?;
        self.owner.retake(&mut connection).await?;
        Ok(connection)
    }

    async fn write(&mut self, batch: &[(u64, Box<Change>)]) -> Result<(), NotOurs> {
        let mut connection = self.connected().await?;
        let mut transaction = connection.begin().await?;
        self.owner.sign(&mut transaction).await?;
        for (_, change) in batch {
            if let Change::Sent {
                channel,
                id,
                stanza,
            } = &**change
            {
                let message = [channel.as_str(), id, stanza];
                let archive = &mut self.archive;
                archive
                    .write(&mut transaction, &self.service, message)
                    .await?;
            }
            write(&mut transaction, &self.service, change).await?;
        }
        transaction.commit().await?;
        self.owner.signed();
        self.connection = Some(connection);
        Ok(())
    }

    async fn answer(&mut self, question: &Question) -> Answer {
        let work = async {
            let mut connection = self.connected().await?;
            let answer = archive::read(&mut connection, &self.service, question).await?;
            self.connection = Some(connection);
            Ok::<_, NotOurs>(answer)
        };
        match tokio::time::timeout(LIMIT, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Answer::Failed,
        }
    }

    async fn sweep(&mut self) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let swept = self.archive.sweep(connection, &self.service);
        if !matches!(tokio::time::timeout(LIMIT, swept).await, Ok(Ok(()))) {
            self.connection = None;
        }
    }

    async fn open(&mut self) -> Result<Snapshot, StoreError> {
        let place = self.place.clone();
        let failed = |why| StoreError::Database {
            place: place.clone(),
            why,
        };
        let connected = tokio::time::timeout(LIMIT, connect(&self.url)).await;
        let connected = connected.unwrap_or(Err(sqlx::Error::PoolTimedOut));
        let mut connection = connected.map_err(failed)?;
        let owner = self.owner.take(&mut connection).await;
        owner.map_err(|why| StoreError::NotOurs {
            place: place.clone(),
            why,
        })?;
        let (found, known) = migrate(&mut connection).await.map_err(failed)?;
        if found > known {
            return Err(StoreError::Newer {
                place,
                found,
                known,
            });
        }
        let remembered = self.owner.remember(&mut connection).await;
        remembered.map_err(failed)?;
        let kept = load(&mut connection, &self.service).await;
        let kept = kept.map_err(|error| match error {
            Unread::Database(why) => failed(why),
            Unread::Record(what) => StoreError::Damaged {
                place: place.clone(),
                what,
            },
        })?;
        let archive = self.archive.open(&mut connection, &self.service);
        archive.await.map_err(failed)?;
        self.connection = Some(connection);
        tracing::info!(place, channels = kept.channels.len(), "state read");
        Ok(kept)
    }
}

async fn connect(url: &str) -> Result<AnyConnection, sqlx::Error> {
    sqlx::any::install_default_drivers();
    let options: AnyConnectOptions = url.parse()?;
    let options = options.disable_statement_logging();
    let mut connection = AnyConnection::connect_with(&options).await?;
    if url.starts_with("sqlite:") {
        // A commit is on the disk when it returns, and readers (a backup) do not stand in its way.
        for pragma in ["PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL"] {
            sqlx::query(pragma).fetch_all(&mut connection).await?;
        }
    }
    Ok(connection)
}

/// Brings the tables up to date; the version that was found and ours. Does nothing if it is newer.
async fn migrate(connection: &mut AnyConnection) -> Result<(i64, i64), sqlx::Error> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let mut transaction = connection.begin().await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS offhook_version (version BIGINT NOT NULL)")
        .execute(&mut *transaction)
        .await?;
    let found: Option<i64> = sqlx::query_scalar("SELECT version FROM offhook_version")
        .fetch_optional(&mut *transaction)
        .await?;
    let from = found.unwrap_or(0);
    if from < known {
        let done = usize::try_from(from).unwrap_or(0);
        for statement in STEPS.iter().skip(done).copied().flatten() {
            sqlx::query(*statement).execute(&mut *transaction).await?;
        }
        let set = match found {
            Some(_) => "UPDATE offhook_version SET version = $1",
            None => "INSERT INTO offhook_version (version) VALUES ($1)",
        };
        sqlx::query(set)
            .bind(known)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
    }
    Ok((from, known))
}

/// Why a record cannot be taken in.
enum Unread {
    Database(sqlx::Error),
    Record(String),
}

impl From<sqlx::Error> for Unread {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// Reads everything of a service: as the changes that lead there.
async fn load(connection: &mut AnyConnection, service: &str) -> Result<Snapshot, Unread> {
    type Read = fn(&AnyRow) -> Result<Change, Unread>;
    const PARTS: [(&str, Read); 3] = [
        (
            "SELECT channel, settings FROM mix_channel WHERE service = $1",
            read_channel,
        ),
        (
            "SELECT channel, id, record FROM mix_participant WHERE service = $1",
            read_participant,
        ),
        (
            "SELECT channel, id, resource, presence FROM mix_client WHERE service = $1",
            read_client,
        ),
    ];
    let mut kept = Snapshot::default();
    for (select, read) in PARTS {
        let mut rows = sqlx::query(select).bind(service).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            kept.apply(read(&row)?);
        }
    }
    Ok(kept)
}

fn read_channel(row: &AnyRow) -> Result<Change, Unread> {
    let channel: String = row.try_get(0)?;
    let settings = record::read_settings(row.try_get(1)?);
    let settings =
        settings.map_err(|why| Unread::Record(format!("the settings of a channel: {why}")))?;
    Ok(Change::Settings {
        channel,
        settings: Box::new(settings),
    })
}

fn read_participant(row: &AnyRow) -> Result<Change, Unread> {
    let participant = record::read_participant(row.try_get(2)?);
    let participant = participant.map_err(|why| Unread::Record(format!("a participant: {why}")))?;
    Ok(Change::Joined {
        channel: row.try_get(0)?,
        id: stable_id(row)?,
        participant: Box::new(participant),
    })
}

fn read_client(row: &AnyRow) -> Result<Change, Unread> {
    Ok(Change::Present {
        channel: row.try_get(0)?,
        id: stable_id(row)?,
        resource: row.try_get(2)?,
        presence: row.try_get(3)?,
    })
}

fn stable_id(row: &AnyRow) -> Result<StableId, Unread> {
    StableId::read(row.try_get(1)?).ok_or_else(|| Unread::Record("a stable id".to_owned()))
}

/// Writes one change. What was written before stays right if it is written once more.
async fn write(
    connection: &mut AnyConnection,
    service: &str,
    change: &Change,
) -> Result<(), sqlx::Error> {
    let (statements, values): (&[&'static str], Vec<&str>);
    let record;
    match change {
        Change::Settings { channel, settings } => {
            record = record::write_settings(settings);
            statements = &["INSERT INTO mix_channel (service, channel, settings) \
                 VALUES ($1, $2, $3) \
                 ON CONFLICT (service, channel) DO UPDATE SET settings = excluded.settings"];
            values = vec![channel, &record];
        }
        Change::Destroyed { channel } => {
            statements = &[
                "DELETE FROM mix_message WHERE service = $1 AND channel = $2",
                "DELETE FROM mix_client WHERE service = $1 AND channel = $2",
                "DELETE FROM mix_participant WHERE service = $1 AND channel = $2",
                "DELETE FROM mix_channel WHERE service = $1 AND channel = $2",
            ];
            values = vec![channel];
        }
        Change::Joined {
            channel,
            id,
            participant,
        } => {
            record = record::write_participant(participant);
            statements = &[
                "INSERT INTO mix_participant (service, channel, id, record) \
                 VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (service, channel, id) DO UPDATE SET record = excluded.record",
            ];
            values = vec![channel, id.as_str(), &record];
        }
        Change::Left { channel, id } => {
            statements = &[
                "DELETE FROM mix_client WHERE service = $1 AND channel = $2 AND id = $3",
                "DELETE FROM mix_participant WHERE service = $1 AND channel = $2 AND id = $3",
            ];
            values = vec![channel, id.as_str()];
        }
        // The archive writes it.
        Change::Sent { .. } => return Ok(()),
        Change::Retracted {
            channel,
            id,
            stanza,
        } => {
            statements = &["UPDATE mix_message SET stanza = $4 \
                 WHERE service = $1 AND channel = $2 AND id = $3"];
            values = vec![channel, id, stanza];
        }
        Change::Present {
            channel,
            id,
            resource,
            presence,
        } => {
            statements = &[
                "INSERT INTO mix_client (service, channel, id, resource, presence) \
                 VALUES ($1, $2, $3, $4, $5) \
                 ON CONFLICT (service, channel, id, resource) \
                 DO UPDATE SET presence = excluded.presence",
            ];
            values = vec![channel, id.as_str(), resource, presence];
        }
        Change::Gone {
            channel,
            id,
            resource,
        } => {
            statements = &["DELETE FROM mix_client \
                 WHERE service = $1 AND channel = $2 AND id = $3 AND resource = $4"];
            values = vec![channel, id.as_str(), resource];
        }
    }
    for statement in statements {
        let mut query = sqlx::query(*statement).bind(service);
        for value in &values {
            query = query.bind(*value);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}
