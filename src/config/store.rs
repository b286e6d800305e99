//! `[store]`: where state is kept.

use super::meant::Notes;
use super::{Secret, StoreConfig, written};

const HINT: &str = "such as sqlite:///var/lib/offhook/offhook.db";

impl Notes {
    pub(super) fn store(&mut self, written: written::Store, has_mix: bool) -> Option<StoreConfig> {
        let url = self.required("store.url", written.url, HINT)?;
        if !has_mix {
            self.warn(
                "store",
                "only the channels of [mix] are kept, and there are none",
            );
        }
        match read(&url) {
            Ok(store) => Some(store),
            Err(reason) => {
                self.wrong("store.url", reason);
                None
            }
        }
    }
}

fn read(url: &str) -> Result<StoreConfig, String> {
    if let Some(path) = url.strip_prefix("sqlite://") {
        return sqlite(path);
    }
    let rest = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or("starts with neither sqlite:// nor postgres://")?;
    let (place, database) = rest.split_once('/').unwrap_or((rest, ""));
    let database = database.split('?').next().unwrap_or_default();
    if database.is_empty() {
        return Err("names no database; write postgres://user@host/database".to_owned());
    }
    // The connection has no TLS.
    for mode in ["require", "verify-ca", "verify-full"] {
        if rest.contains(&format!("sslmode={mode}")) {
            return Err(format!(
                "sslmode={mode} cannot be had; use a Unix socket or a network of your own"
            ));
        }
    }
    let place = match place.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{user}@{host}")
        }
        None => place.to_owned(),
    };
    Ok(StoreConfig::Postgres {
        url: Secret(url.to_owned()),
        shown: format!("postgres://{place}/{database}"),
    })
}

fn sqlite(path: &str) -> Result<StoreConfig, String> {
    if !path.starts_with('/') {
        return Err(format!("needs the whole path, with three slashes; {HINT}"));
    }
    if path.ends_with('/') {
        return Err(format!("names a folder; write a file in it, {HINT}"));
    }
    if path.contains(['?', '#', '%']) {
        return Err("has a `?`, `#` or `%` in its path; choose another".to_owned());
    }
    Ok(StoreConfig::Sqlite {
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for scheme in ["postgres", "postgresql"] {
            let url = format!("{scheme}://offhook:s3cret@db.example/state?host=/run/pg");
            let store = read(&url).unwrap();
            assert_eq!(store.to_string(), "postgres://offhook@db.example/state");
            assert!(!format!("{store:?}").contains("s3cret"));
        }
    }

    #[test]
    fn mistakes_are_named() {
        let cases = [
            ("x.db", "neither"),
            ("sqlite://x.db", "three slashes"),
            ("sqlite:///var/lib/", "names a folder"),
            ("sqlite:///x?mode=ro", "choose another"),
            ("postgres://localhost", "names no database"),
            ("postgres://localhost/?host=/x", "names no database"),
            ("postgres://a@b/c?sslmode=require", "Unix socket"),
        ];
        for (url, word) in cases {
            let told = read(url).unwrap_err();
            assert!(told.contains(word), "{url}: {told}");
        }
    }
}
