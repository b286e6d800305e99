//! Every key of the configuration, in one table: its kind and its default. The file, the environment and `conf/offhook.toml` are all held against it.

use std::collections::BTreeMap;

use ::config::{Value, ValueKind};

use super::Mistake;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Where it stands, such as `trunk[].uri`; `[]` marks a list of tables.
    pub path: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Its default as TOML, unless it has none.
    pub default: Option<&'static str>,
}

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// Text that is never shown.
    Secret,
    /// The name of a file that holds the secret of the key without `_file`.
    SecretFile,
    /// The name of a file, relative to the configuration's.
    File,
    /// A whole number from 0 up.
    Number,
    /// `true` or `false`.
    Switch,
    /// A list of texts.
    Texts,
}

const fn key(path: &'static str, kind: Kind, default: Option<&'static str>) -> Key {
    Key {
        path,
        kind,
        default,
    }
}

impl Key {
    /// The last part of the path.
    pub fn name(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or(self.path, |(_, name)| name)
    }

    /// The part before the name: its section.
    pub fn section(&self) -> &'static str {
        self.path
            .rsplit_once('.')
            .map_or("", |(section, _)| section)
    }
}

/// Every key there is.
pub const KEYS: &[Key] = &[
    key("xmpp.server", Kind::Text, Some(r#""127.0.0.1:5347""#)),
    key("xmpp.domain", Kind::Text, None),
    key("xmpp.secret", Kind::Secret, None),
    key("xmpp.secret_file", Kind::SecretFile, None),
    key("xmpp.resource", Kind::Text, Some(r#""phone""#)),
    key(
        "sip.listen",
        Kind::Texts,
        Some(r#"["udp://0.0.0.0:5060", "tcp://0.0.0.0:5060"]"#),
    ),
    key("sip.advertise", Kind::Text, None),
    key("sip.user_agent", Kind::Text, Some(r#""Offhook""#)),
    key("sip.nameserver", Kind::Text, None),
    key("sip.tls.cert", Kind::File, None),
    key("sip.tls.key", Kind::File, None),
    key("sip.tls.ca", Kind::File, None),
    key("sip.tls.verify_client", Kind::Switch, Some("false")),
    key("media.bind", Kind::Text, Some(r#""0.0.0.0""#)),
    key("media.advertise", Kind::Text, None),
    key("media.xmpp_port", Kind::Number, Some("40000")),
    key("media.rtp_ports", Kind::Text, Some(r#""20000-29999""#)),
    key("media.threads", Kind::Number, Some("0")),
    key("media.transcode", Kind::Text, Some(r#""when-needed""#)),
    key("trunk[].name", Kind::Text, None),
    key("trunk[].uri", Kind::Text, None),
    key("trunk[].username", Kind::Text, None),
    key("trunk[].password", Kind::Secret, None),
    key("trunk[].password_file", Kind::SecretFile, None),
    key(
        "trunk[].codecs",
        Kind::Texts,
        Some(r#"["opus", "G722", "PCMU", "PCMA"]"#),
    ),
    key("trunk[].from_networks", Kind::Texts, Some("[]")),
    key("trunk[].from_domain", Kind::Text, None),
    key("trunk[].max_calls", Kind::Number, None),
    key("trunk[].options_s", Kind::Number, Some("30")),
    key("trunk[].register", Kind::Switch, Some("false")),
    key("trunk[].outbound_proxy", Kind::Text, None),
    key("trunk[].caller_id", Kind::Text, Some(r#""from""#)),
    key("trunk[].srtp", Kind::Text, Some(r#""off""#)),
    key("trunk[].srtp_keys", Kind::Text, Some(r#""sdes""#)),
    key("trunk[].dtmf", Kind::Text, Some(r#""auto""#)),
    key("trunk[].comfort_noise", Kind::Switch, Some("true")),
    key("trunk[].early_media", Kind::Switch, Some("false")),
    key("trunk[].session_expires_s", Kind::Number, Some("0")),
    key("trunk[].messages", Kind::Switch, Some("true")),
    key("trunk[].video", Kind::Switch, Some("false")),
    key("route[].match", Kind::Text, None),
    key("route[].trunk", Kind::Texts, None),
    key("number[].number", Kind::Text, None),
    key("number[].ring", Kind::Texts, None),
    key("access.allow", Kind::Texts, Some("[]")),
    key("access.country", Kind::Text, None),
    key("access.max_calls_per_user", Kind::Number, Some("4")),
    key("access.calls_per_minute", Kind::Number, Some("10")),
    key("access.messages_per_minute", Kind::Number, Some("30")),
    key("access.max_call_s", Kind::Number, Some("14400")),
    key("call.ring_limit_s", Kind::Number, Some("120")),
    key("call.silence_limit_s", Kind::Number, Some("30")),
    key("call.connect_limit_s", Kind::Number, Some("15")),
    key("mix.domain", Kind::Text, None),
    key("mix.server", Kind::Text, None),
    key("mix.secret", Kind::Secret, None),
    key("mix.secret_file", Kind::SecretFile, None),
    key("mix.create", Kind::Texts, Some("[]")),
    key("mix.ejabberd_domains", Kind::Texts, Some("[]")),
    key("mix.tigase_domains", Kind::Texts, Some("[]")),
    key("mix.archive_days", Kind::Number, Some("30")),
    key("mix.archive_max", Kind::Number, Some("10000")),
    key("mix.legacy_presence", Kind::Switch, Some("true")),
    key("mix.channel[].name", Kind::Text, None),
    key("mix.channel[].owner", Kind::Texts, None),
    key("mix.channel[].hidden", Kind::Switch, Some("false")),
    key("mix.channel[].phones", Kind::Texts, Some("[]")),
    key("admin.listen", Kind::Text, None),
    key("store.url", Kind::Text, None),
];

/// The key of this path, with `[]` for list positions.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|k| k.path == path)
}

/// The path with `[]` for list positions: `trunk[0].uri` is `trunk[].uri`.
pub fn pattern(path: &str) -> String {
    let mut pattern = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            _ if inside => continue,
            _ => {}
        }
        pattern.push(c);
    }
    pattern
}

/// What may stand at a path.
enum Place {
    Key(&'static Key),
    Table,
    Tables,
}

fn place(pattern: &str) -> Option<Place> {
    let below = |joint: &str| {
        let start = format!("{pattern}{joint}");
        KEYS.iter().any(|k| k.path.starts_with(&start))
    };
    match find(pattern) {
        Some(key) => Some(Place::Key(key)),
        None if below(".") => Some(Place::Table),
        None if below("[].") => Some(Place::Tables),
        None => None,
    }
}

/// Takes every unknown key, every value of a wrong type and every key that is refused out of
/// `root`, so that what remains fits the structs of `written.rs`, and tells of each.
pub fn prune(root: &mut Value) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    if let ValueKind::Table(_) = root.kind {
        prune_table(root, "", &mut mistakes);
    }
    mistakes
}

fn prune_table(value: &mut Value, path: &str, mistakes: &mut Vec<Mistake>) {
    let ValueKind::Table(table) = &mut value.kind else {
        return;
    };
    // Ordered, so that the mistakes come in the same order each time.
    let mut entries: BTreeMap<String, Value> = std::mem::take(table).into_iter().collect();
    entries.retain(|name, value| {
        let path = match path {
            "" => name.clone(),
            _ => format!("{path}.{name}"),
        };
        match prune_value(value, &path, mistakes) {
            Ok(()) => true,
            Err(reason) => {
                mistakes.push(Mistake::new(path, reason));
                false
            }
        }
    });
    *table = entries.into_iter().collect();
}

fn prune_value(value: &mut Value, path: &str, mistakes: &mut Vec<Mistake>) -> Result<(), String> {
    match place(&pattern(path)) {
        None => Err(unknown(path)),
        Some(Place::Key(key)) => check(key, value),
        Some(Place::Table) => match &value.kind {
            ValueKind::Table(_) => {
                prune_table(value, path, mistakes);
                Ok(())
            }
            _ => Err(format!("is a section; write [{path}] on a line of its own")),
        },
        Some(Place::Tables) => match &mut value.kind {
            ValueKind::Array(list)
                if list.iter().all(|v| matches!(v.kind, ValueKind::Table(_))) =>
            {
                for (index, item) in list.iter_mut().enumerate() {
                    prune_table(item, &format!("{path}[{index}]"), mistakes);
                }
                Ok(())
            }
            _ => Err(format!(
                "is a list of sections; write [[{path}]], with two brackets, before each"
            )),
        },
    }
}

fn check(key: &Key, value: &mut Value) -> Result<(), String> {
    let kind = &mut value.kind;
    let shown = match key.kind {
        Kind::Secret => "what stands there".to_owned(),
        _ => format!("`{}`", shown(kind)),
    };
    match key.kind {
        Kind::Text | Kind::Secret | Kind::SecretFile | Kind::File => match kind {
            ValueKind::String(_) => Ok(()),
            _ => Err(format!("{shown} is no text; put it in quotes")),
        },
        Kind::Number => match kind {
            ValueKind::I64(n) if *n >= 0 => Ok(()),
            ValueKind::I64(_) => Err(format!("{shown} is below 0")),
            _ => Err(format!(
                "{shown} is no whole number; write it without quotes and units"
            )),
        },
        Kind::Switch => match kind {
            ValueKind::Boolean(_) => Ok(()),
            _ => Err(format!(
                "{shown} is neither true nor false (without quotes)"
            )),
        },
        Kind::Texts => match kind {
            ValueKind::Array(list)
                if list.iter().all(|v| matches!(v.kind, ValueKind::String(_))) =>
            {
                Ok(())
            }
            ValueKind::String(text) => Err(format!(
                "{shown} is one text, but a list is wanted; write [\"{text}\"]"
            )),
            _ => Err(format!(
                "{shown} is no list of texts; write it as [\"one\", \"two\"]"
            )),
        },
    }
}

fn shown(kind: &ValueKind) -> String {
    match kind {
        ValueKind::String(text) => text.clone(),
        ValueKind::I64(n) => n.to_string(),
        ValueKind::Float(n) => n.to_string(),
        ValueKind::Boolean(b) => b.to_string(),
        ValueKind::Array(list) => {
            let items: Vec<_> = list.iter().map(|v| shown(&v.kind)).collect();
            format!("[{}]", items.join(", "))
        }
        ValueKind::Table(_) => "a table".to_owned(),
        _ => "nothing".to_owned(),
    }
}

fn unknown(path: &str) -> String {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let section_pattern = pattern(section);
    let siblings = siblings(&section_pattern);
    if let Some(near) = nearest(name, &siblings) {
        return format!("unknown key; did you mean `{near}`?");
    }
    let elsewhere: Vec<_> = KEYS
        .iter()
        .filter(|k| k.name() == name)
        .map(|k| format!("[{}]", k.section().replace("[]", "")))
        .collect();
    if !elsewhere.is_empty() {
        return format!("unknown key here; it belongs in {}", elsewhere.join(" or "));
    }
    match section {
        "" => format!("unknown section; there are {}", siblings.join(", ")),
        _ => format!("unknown key; here are {}", siblings.join(", ")),
    }
}

/// The names that may stand in a section, in the table's order.
fn siblings(section_pattern: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for key in KEYS {
        let rest = match section_pattern {
            "" => Some(key.path),
            _ => key
                .path
                .strip_prefix(section_pattern)
                .and_then(|rest| rest.strip_prefix('.')),
        };
        let Some(rest) = rest else { continue };
        let name = rest.split(['.', '[']).next().unwrap_or(rest);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The name most like `name`, if one is so near that it may be meant.
pub fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    // A third of the letters may be wrong, but never more than three, and one always.
    let limit = (name.chars().count() / 3).clamp(1, 3);
    names
        .iter()
        .map(|&other| (distance(&name.to_lowercase(), &other.to_lowercase()), other))
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, other)| other)
}

/// Letters to insert, drop, change or swap with their neighbour to come from `a` to `b` (optimal
/// string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(row[j - 1] + 1).min(rows[i - 1][j] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// The path that an environment variable names, and its key: `OFFHOOK_TRUNK__0__URI` is
/// `trunk[0].uri`. `None` if the variable names no key of ours.
pub fn from_variable(variable: &str) -> Option<(String, &'static Key)> {
    let mut path = String::new();
    for part in variable.strip_prefix(PREFIX)?.to_lowercase().split("__") {
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            path = format!("{path}[{part}]");
        } else if path.is_empty() {
            path = part.to_owned();
        } else {
            path = format!("{path}.{part}");
        }
    }
    find(&pattern(&path)).map(|key| (path, key))
}

/// What every environment variable of the configuration starts with.
pub const PREFIX: &str = "OFFHOOK_";

/// True for a variable that starts like ours and is not of the configuration: that of the log, and
/// those that Kubernetes gives every container when there is a service named `offhook`.
pub fn is_no_key(variable: &str) -> bool {
    let Some(name) = variable.strip_prefix(PREFIX) else {
        return true;
    };
    let of_kubernetes = name == "SERVICE_HOST" || name.starts_with("SERVICE_PORT") || {
        let rest = name.strip_prefix("PORT");
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    name == "LOG" || of_kubernetes
}

/// The right spelling of a variable whose words are joined by one `_` where two belong.
pub fn respelled(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(PREFIX)?.replace("__", "_");
    KEYS.iter().find_map(|key| spelled_as(key, &name))
}

/// The variable of `key`, if `name` has its words, and a number for each place in a list.
fn spelled_as(key: &Key, name: &str) -> Option<String> {
    let mut words = name.split('_');
    let mut steps = Vec::new();
    for step in key.path.replace("[]", ".#").split('.') {
        let mut parts = Vec::new();
        for wanted in step.split('_') {
            let word = words.next()?;
            let fits = match wanted {
                "#" => !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()),
                wanted => wanted.eq_ignore_ascii_case(word),
            };
            parts.push(fits.then(|| word.to_uppercase())?);
        }
        steps.push(parts.join("_"));
    }
    let is_whole = words.next().is_none();
    is_whole.then(|| format!("{PREFIX}{}", steps.join("__")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_loses_its_positions() {
        assert_eq!(pattern("trunk[12].uri"), "trunk[].uri");
        assert_eq!(pattern("mix.channel[0].name"), "mix.channel[].name");
        assert_eq!(pattern("sip"), "sip");
    }

    #[test]
    fn variables_name_keys() {
        let path = |v| from_variable(v).map(|(path, _)| path);
        assert_eq!(path("OFFHOOK_XMPP__SECRET").as_deref(), Some("xmpp.secret"));
        assert_eq!(
            path("OFFHOOK_TRUNK__0__URI").as_deref(),
            Some("trunk[0].uri")
        );
        assert_eq!(path("OFFHOOK_SIP__TLS__CA").as_deref(), Some("sip.tls.ca"));
        assert_eq!(path("OFFHOOK_TRUNK__URI"), None);
        assert_eq!(path("XMPP__SECRET"), None);
        assert_eq!(
            respelled("OFFHOOK_XMPP_SECRET").as_deref(),
            Some("OFFHOOK_XMPP__SECRET")
        );
        for (wrong, right) in [
            ("OFFHOOK_TRUNK_0_PASSWORD", "OFFHOOK_TRUNK__0__PASSWORD"),
            ("OFFHOOK_TRUNK__0_MAX_CALLS", "OFFHOOK_TRUNK__0__MAX_CALLS"),
            (
                "OFFHOOK_MIX_CHANNEL_12_NAME",
                "OFFHOOK_MIX__CHANNEL__12__NAME",
            ),
        ] {
            assert_eq!(respelled(wrong).as_deref(), Some(right));
        }
        assert_eq!(respelled("OFFHOOK_TRUNK_X_PASSWORD"), None);
        assert_eq!(respelled("OFFHOOK_LOG"), None);
    }

    #[test]
    fn variables_that_are_not_ours_are_left_alone() {
        for name in [
            "OFFHOOK_LOG",
            "OFFHOOK",
            "OFFHOOK_SERVICE_HOST",
            "OFFHOOK_SERVICE_PORT_SIP",
            "OFFHOOK_PORT",
            "OFFHOOK_PORT_5060_UDP_ADDR",
            "HOME",
        ] {
            assert!(is_no_key(name), "{name}");
        }
        assert!(!is_no_key("OFFHOOK_SECRET") && !is_no_key("OFFHOOK_PORTS"));
    }

    #[test]
    fn a_near_miss_is_found() {
        assert_eq!(nearest("secrt", &["server", "secret"]), Some("secret"));
        assert_eq!(nearest("Domain", &["domain"]), Some("domain"));
        assert_eq!(nearest("zebra", &["server", "secret"]), None);
        assert_eq!(nearest("chekc", &["check"]), Some("check"));
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn every_secret_has_a_file_twin() {
        for key in KEYS.iter().filter(|k| k.kind == Kind::Secret) {
            let twin = find(&format!("{}_file", key.path)).expect(key.path);
            assert_eq!(twin.kind, Kind::SecretFile);
        }
    }
}
