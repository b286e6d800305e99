//! The messages of channels in the tables of [`super::store`].

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::mix::archive::{Answer, Kept, Question};

/// Messages of a channel that may be kept beyond its limit until the next sweep.
const SLACK: usize = 100;
const DAY_MS: i64 = 86_400_000;

/// Numbers messages in the order in which they come, and removes the old ones.
pub(super) struct Archive {
    days: u32,
    most: u32,
    next: i64,
    /// Channels with messages since the last sweep, and how many those are.
    grown: BTreeSet<String>,
    fresh: usize,
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

impl Archive {
    pub(super) fn new(days: u32, most: u32) -> Self {
        Self {
            days,
            most,
            next: 0,
            grown: BTreeSet::new(),
            fresh: SLACK,
        }
    }

    /// Goes on counting where the last start ended.
    pub(super) async fn open(
        &mut self,
        connection: &mut AnyConnection,
        service: &str,
    ) -> Result<(), sqlx::Error> {
        let last: Option<i64> =
            sqlx::query_scalar("SELECT MAX(n) FROM mix_message WHERE service = $1")
                .bind(service)
                .fetch_one(&mut *connection)
                .await?;
        self.next = last.map_or(0, |last| last + 1);
        let channels = sqlx::query("SELECT DISTINCT channel FROM mix_message WHERE service = $1");
        for row in channels.bind(service).fetch_all(&mut *connection).await? {
            self.grown.insert(row.try_get(0)?);
        }
        Ok(())
    }

    /// Keeps one; writing it twice changes nothing.
    pub(super) async fn write(
        &mut self,
        connection: &mut AnyConnection,
        service: &str,
        [channel, id, stanza]: [&str; 3],
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO mix_message (service, channel, id, n, sent, stanza) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (service, channel, id) DO NOTHING",
        )
        .bind(service)
        .bind(channel)
        .bind(id)
        .bind(self.next)
        .bind(now_ms())
        .bind(stanza)
        .execute(connection)
        .await?;
        self.next += 1;
        self.fresh += 1;
        if !self.grown.contains(channel) {
            self.grown.insert(channel.to_owned());
        }
        Ok(())
    }

    /// Removes what is too old or too much, if enough has come for it to be worth while.
    pub(super) async fn sweep(
        &mut self,
        connection: &mut AnyConnection,
        service: &str,
    ) -> Result<(), sqlx::Error> {
        if self.fresh < SLACK {
            return Ok(());
        }
        sqlx::query("DELETE FROM mix_message WHERE service = $1 AND sent < $2")
            .bind(service)
            .bind(now_ms() - i64::from(self.days) * DAY_MS)
            .execute(&mut *connection)
            .await?;
        for channel in &self.grown {
            sqlx::query(
                "DELETE FROM mix_message WHERE service = $1 AND channel = $2 AND n <= (\
                 SELECT n FROM mix_message WHERE service = $1 AND channel = $2 \
                 ORDER BY n DESC LIMIT 1 OFFSET $3)",
            )
            .bind(service)
            .bind(channel.as_str())
            .bind(i64::from(self.most))
            .execute(&mut *connection)
            .await?;
        }
        self.grown.clear();
        self.fresh = 0;
        Ok(())
    }
}

/// Reads a page.
pub(super) async fn read(
    connection: &mut AnyConnection,
    service: &str,
    question: &Question,
) -> Result<Answer, sqlx::Error> {
    let Question {
        channel,
        after,
        before,
        since,
        until,
        most,
        only,
    } = question;
    if let Some(id) = only {
        return read_one(connection, service, channel, id).await;
    }
    let mut bounds = [i64::MIN, i64::MAX];
    for (bound, id) in bounds.iter_mut().zip([after, before]) {
        let Some(id) = id.as_deref().filter(|id| !id.is_empty()) else {
            continue;
        };
        let place: Option<i64> = sqlx::query_scalar(
            "SELECT n FROM mix_message WHERE service = $1 AND channel = $2 AND id = $3",
        )
        .bind(service)
        .bind(channel.as_str())
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
        match place {
            Some(place) => *bound = place,
            None => return Ok(Answer::NoSuchMessage),
        }
    }
    let backward = before.is_some();
    let select = match backward {
        false => {
            "SELECT id, sent, stanza FROM mix_message WHERE service = $1 AND channel = $2 \
             AND n > $3 AND n < $4 AND sent >= $5 AND sent <= $6 ORDER BY n ASC LIMIT $7"
        }
        true => {
            "SELECT id, sent, stanza FROM mix_message WHERE service = $1 AND channel = $2 \
             AND n > $3 AND n < $4 AND sent >= $5 AND sent <= $6 ORDER BY n DESC LIMIT $7"
        }
    };
    let rows = sqlx::query(select)
        .bind(service)
        .bind(channel.as_str())
        .bind(bounds[0])
        .bind(bounds[1])
        .bind(since.unwrap_or(i64::MIN))
        .bind(until.unwrap_or(i64::MAX))
        .bind(i64::try_from(most + 1).unwrap_or(i64::MAX))
        .fetch_all(&mut *connection)
        .await?;
    let complete = rows.len() <= *most;
    let mut messages = Vec::new();
    for row in rows.iter().take(*most) {
        messages.push(kept(row)?);
    }
    if backward {
        messages.reverse();
    }
    Ok(Answer::Page { messages, complete })
}

async fn read_one(
    connection: &mut AnyConnection,
    service: &str,
    channel: &str,
    id: &str,
) -> Result<Answer, sqlx::Error> {
    let row = sqlx::query(
        "SELECT id, sent, stanza FROM mix_message \
         WHERE service = $1 AND channel = $2 AND id = $3",
    )
    .bind(service)
    .bind(channel)
    .bind(id)
    .fetch_optional(connection)
    .await?;
    let message = row.as_ref().map(kept).transpose()?;
    let now = now_ms();
    Ok(Answer::One { message, now })
}

fn kept(row: &AnyRow) -> Result<Kept, sqlx::Error> {
    Ok(Kept {
        id: row.try_get(0)?,
        at: row.try_get(1)?,
        stanza: row.try_get(2)?,
    })
}
