//! One gateway at a time for what is kept of a service: what another one wrote meanwhile, the first
//! would not know of, and would overwrite.
//!
//! With SQLite it is a lock on a file beside the database, with PostgreSQL an advisory lock of the
//! connection: both go when the program does, however it ends. A connection may also break while the
//! program goes on; so whoever has the lock leaves a mark in a table with the first change, and who
//! comes back and finds another's writes nothing any more.

use std::fs::{File, OpenOptions, TryLockError, canonicalize};
use std::io::{Read, Write};
use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::AnyConnection;
use tokio::time::Instant;

use crate::config::StoreConfig;

/// The other may be about to end, and PostgreSQL needs a moment to notice that it has.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
/// A gateway whose host has gone without a word holds its lock until PostgreSQL asks whether it is there.
const ALIVE: [&str; 3] = [
    "SET tcp_keepalives_idle = 10",
    "SET tcp_keepalives_interval = 5",
    "SET tcp_keepalives_count = 3",
];

/// Why the state is not ours.
#[derive(Debug, thiserror::Error)]
pub enum NotOurs {
    /// Another gateway has it; the process, if it is of this host.
    #[error("another gateway keeps the channels of {service} there{}; stop it first, or give this one a store of its own", by(*.process))]
    Taken {
        /// The service.
        service: String,
        /// Whose.
        process: Option<u32>,
    },
    /// Another gateway has had it while our connection was broken.
    #[error("another gateway has kept the channels of {0} there meanwhile; restart this one")]
    Lost(String),
    /// The database refuses.
    #[error("{0}")]
    Database(#[from] sqlx::Error),
    /// The file beside the database cannot be locked.
    #[error("{file}: cannot be locked: {why}")]
    File {
        /// Which.
        file: String,
        /// Why.
        why: std::io::Error,
    },
}

fn by(process: Option<u32>) -> String {
    process.map_or_else(String::new, |process| format!(" (process {process})"))
}

/// Our claim to the state of a service.
pub(super) struct Owner {
    service: String,
    /// Tells this start of the program from all others.
    token: String,
    /// How often it was taken: each time has a mark of its own.
    taken: u32,
    /// The mark under which the state is as we know it.
    known: Option<String>,
    /// Ours, in a transaction of which it is not known whether it was committed.
    signing: Option<String>,
    is_signed: bool,
    /// The database's file, if it is one.
    path: Option<String>,
    /// Locked as long as it is open.
    locked: Option<File>,
}

impl Owner {
    /// Not taken yet.
    pub(super) fn new(config: &StoreConfig, service: &str, token: String) -> Self {
        let path = match config {
            StoreConfig::Sqlite { path } => Some(path.clone()),
            StoreConfig::Postgres { .. } => None,
        };
        Self {
            service: service.to_owned(),
            token,
            taken: 0,
            known: None,
            signing: None,
            is_signed: false,
            path,
            locked: None,
        }
    }

    /// Takes it at the start, from nobody who is there.
    pub(super) async fn take(&mut self, connection: &mut AnyConnection) -> Result<(), NotOurs> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lock(connection).await {
                Err(NotOurs::Taken { .. }) if Instant::now() < end => {
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }

    /// Remembers whose state it is that is read at the start.
    pub(super) async fn remember(
        &mut self,
        connection: &mut AnyConnection,
    ) -> Result<(), sqlx::Error> {
        self.known = self.mark(connection).await?;
        Ok(())
    }

    /// Takes it again over a fresh connection.
    pub(super) async fn retake(&mut self, connection: &mut AnyConnection) -> Result<(), NotOurs> {
        self.lock(connection).await?;
        let mark = self.mark(connection).await?;
        let signing = self.signing.take();
        if mark != self.known && (signing.is_none() || mark != signing) {
            self.signing = signing;
            return Err(NotOurs::Lost(self.service.clone()));
        }
        self.known = mark;
        self.taken += 1;
        self.is_signed = false;
        Ok(())
    }

    /// Leaves our mark together with the first change.
    pub(super) async fn sign(&mut self, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
        if self.is_signed {
            return Ok(());
        }
        let mark = format!("{}-{}", self.token, self.taken);
        sqlx::query(
            "INSERT INTO offhook_owner (service, mark) VALUES ($1, $2) \
             ON CONFLICT (service) DO UPDATE SET mark = excluded.mark",
        )
        .bind(&self.service)
        .bind(&mark)
        .execute(connection)
        .await?;
        self.signing = Some(mark);
        Ok(())
    }

    /// What was signed is committed.
    pub(super) fn signed(&mut self) {
        if let Some(mark) = self.signing.take() {
            self.known = Some(mark);
            self.is_signed = true;
        }
    }

    async fn mark(&self, connection: &mut AnyConnection) -> Result<Option<String>, sqlx::Error> {
        sqlx::query_scalar("SELECT mark FROM offhook_owner WHERE service = $1")
            .bind(&self.service)
            .fetch_optional(connection)
            .await
    }

    async fn lock(&mut self, connection: &mut AnyConnection) -> Result<(), NotOurs> {
        let Some(path) = &self.path else {
            return self.lock_connection(connection).await;
        };
        if self.locked.is_none() {
            self.locked = Some(lock_beside(path, &self.service)?);
        }
        Ok(())
    }

    async fn lock_connection(&self, connection: &mut AnyConnection) -> Result<(), NotOurs> {
        for set in ALIVE {
            sqlx::query(set).execute(&mut *connection).await?;
        }
        let got: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
            .bind(key(&self.service))
            .fetch_one(connection)
            .await?;
        if got {
            return Ok(());
        }
        Err(NotOurs::Taken {
            service: self.service.clone(),
            process: None,
        })
    }
}

/// The number of a service's lock: those of a database are shared by all its programs.
fn key(service: &str) -> i64 {
    let hash = Sha256::digest(format!("offhook {service}"));
    let mut bytes = [0; 8];
    for (byte, hashed) in bytes.iter_mut().zip(hash.iter()) {
        *byte = *hashed;
    }
    i64::from_be_bytes(bytes)
}

/// Not the database itself: SQLite has locks of its own on it.
fn lock_beside(path: &str, service: &str) -> Result<File, NotOurs> {
    // However the path is written, and through whatever links.
    let path = canonicalize(path).map_or_else(|_| path.to_owned(), |p| p.display().to_string());
    let name = format!("{path}-lock");
    let failed = |why| NotOurs::File {
        file: name.clone(),
        why,
    };
    let mut options = OpenOptions::new();
    options.create(true).read(true).write(true).truncate(false);
    let mut file = options.open(&name).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = file.take(20).read_to_string(&mut text);
            return Err(NotOurs::Taken {
                service: service.to_owned(),
                process: text.trim().parse().ok(),
            });
        }
        Err(TryLockError::Error(why)) => return Err(failed(why)),
    }
    // For whoever finds it locked; on a full disk they do without.
    let _ = file.set_len(0);
    let _ = writeln!(file, "{}", std::process::id());
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_a_lock_never_changes() {
        // Else two versions of the program could have the same store at once.
        assert_eq!(key("mix.example.org"), -7_148_305_067_001_174_114);
        assert_ne!(key("mix.example.org"), key("mix.example.net"));
    }
}
