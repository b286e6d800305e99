//! `[store]`: where state is kept.

use super::meant::Notes;
use super::{Secret, StoreConfig, values, written};

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
    parameters(rest)?;
    port(place)?;
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

/// The host and port behind a `@`; several are not taken, and an IPv6 address has brackets.
fn port(place: &str) -> Result<(), String> {
    let host = place.rsplit_once('@').map_or(place, |(_, host)| host);
    let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
    match behind.rsplit_once(':') {
        Some((_, port)) if values::port_number(port).is_none() => {
            Err(format!("`{port}` is no port; ports are 1 to 65535"))
        }
        Some(_) | None => Ok(()),
    }
}

/// What the library takes behind the `?`.
const PARAMETERS: &[&str] = &[
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "statement-cache-capacity",
    "user",
];
/// Of libpq's, all but `allow`, which the library takes for `disable`.
const TLS: &[&str] = &["disable", "prefer", "require", "verify-ca", "verify-full"];

fn parameters(rest: &str) -> Result<(), String> {
    let (_, parameters) = rest.split_once('?').unwrap_or_default();
    for parameter in parameters.split('&').filter(|p| !p.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if !PARAMETERS.contains(&name) && !name.starts_with("options[") {
            let known = PARAMETERS.join(", ");
            return Err(format!("there is no parameter `{name}`; there are {known}"));
        }
        if name == "sslmode" && !TLS.contains(&value) {
            let known = TLS.join(", ");
            return Err(format!("sslmode={value} is none of {known}"));
        }
        let is_whole = value.starts_with('/') || value.to_ascii_lowercase().starts_with("%2f");
        if matches!(name, "sslrootcert" | "sslcert" | "sslkey") && !is_whole {
            return Err(format!("{name} needs the whole path of its file"));
        }
    }
    Ok(())
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
    fn every_way_of_tls_is_taken() {
        for mode in TLS {
            let url = format!("postgres://a@b/c?sslmode={mode}&sslrootcert=/etc/ssl/db.pem");
            assert!(read(&url).is_ok(), "{url}");
        }
        for place in ["a@b:5432", "a:b:c@d", "a@[::1]", "a@[::1]:5432", "b"] {
            assert!(read(&format!("postgres://{place}/c")).is_ok(), "{place}");
        }
        assert!(read("postgres://a@b/c?host=%2Frun%2Fpostgresql").is_ok());
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
            ("postgres://a@b/c?sslmode=requir", "verify-full"),
            ("postgres://a@b/c?sslmode=allow", "none of disable"),
            (
                "postgres://a@b/c?sslmode=verify-ca&sslrootcert=ca.pem",
                "whole path",
            ),
            ("postgres://a@b/c?tls=1", "no parameter `tls`"),
            ("postgres://a:1@b:99999/c", "`99999` is no port"),
            ("postgres://a@[::1]:x/c", "`x` is no port"),
        ];
        for (url, word) in cases {
            let told = read(url).unwrap_err();
            assert!(told.contains(word), "{url}: {told}");
        }
    }
}
