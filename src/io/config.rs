//! Reads the configuration: the file, then the environment over it, then the files that hold
//! secrets. What it all means is `config/`'s to say.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ::config::{File, FileFormat, Value, ValueKind};

use super::tls::Certificates;
use crate::config::keys::{self, Kind};
use crate::config::written::Written;
use crate::config::{Meaning, Mistake, Warning};

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(Vec<Found>);

/// A mistake and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    /// A file, or an environment variable.
    place: String,
    mistake: Mistake,
}

impl Mistakes {
    fn one(place: &Path, key: &str, reason: impl Into<String>) -> Self {
        Self(vec![Found {
            place: place.display().to_string(),
            mistake: Mistake::new(key, reason),
        }])
    }

    /// How many there are; never 0.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Found { place, mistake }) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match mistake.key.is_empty() {
                true => write!(f, "{place}: {}", mistake.reason)?,
                false => write!(f, "{place}: {mistake}")?,
            }
        }
        Ok(())
    }
}

/// Reads the configuration at `path`, with the environment of this process.
pub fn read(path: &Path) -> Result<Meaning, Mistakes> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Mistakes::one(path, "", format!("cannot be read: {error}")))?;
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let read_file = |file: &Path| std::fs::read_to_string(file);
    interpret_with(path, &text, variables, cpus, &read_file, &files)
}

/// What is wrong with the files that a configuration names, and what should be known of them.
fn files(written: &Written) -> (Vec<Mistake>, Vec<Warning>) {
    let (mut mistakes, mut warnings) = (Vec::new(), Vec::new());
    if let Some(tls) = &written.sip.tls {
        match Certificates::load(&tls.files()) {
            Ok(certificates) => warnings.extend(certificates.warning.map(Warning)),
            Err(found) => mistakes.extend(found),
        }
    }
    let url = written.store.as_ref().and_then(|store| store.url.as_ref());
    if let Some(file) = url.and_then(|url| url.strip_prefix("sqlite://")) {
        let (file, folder) = (Path::new(file), Path::new(file).parent());
        if file.is_dir() {
            let reason = format!("{} is a folder; write a file in it", file.display());
            mistakes.push(Mistake::new("store.url", reason));
        } else if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
            let reason = format!("there is no folder {} yet", folder.display());
            warnings.push(Warning(Mistake::new("store.url", reason)));
        }
    }
    (mistakes, warnings)
}

/// Reads `text` as the configuration of the file `path`, with `variables` as environment; secrets
/// come through `read_file`.
pub fn interpret(
    path: &Path,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
    cpus: usize,
    read_file: &dyn Fn(&Path) -> std::io::Result<String>,
) -> Result<Meaning, Mistakes> {
    let nothing = |_: &Written| (Vec::new(), Vec::new());
    interpret_with(path, text, variables, cpus, read_file, &nothing)
}

/// Looks into a file other than that of the configuration.
type Look<'a> = &'a dyn Fn(&Written) -> (Vec<Mistake>, Vec<Warning>);

fn interpret_with(
    path: &Path,
    text: &str,
    variables: impl IntoIterator<Item = (String, String)>,
    cpus: usize,
    read_file: &dyn Fn(&Path) -> std::io::Result<String>,
    look: Look<'_>,
) -> Result<Meaning, Mistakes> {
    let mut reading = Reading {
        path,
        root: parse(path, text)?,
        from_variables: BTreeMap::new(),
        found: Vec::new(),
    };
    reading.overlay(variables);
    reading.take_secrets(read_file);
    for mistake in keys::prune(&mut reading.root) {
        reading.wrong(mistake);
    }
    reading.place_files();
    let written: Written = match reading.root.clone().try_deserialize() {
        Ok(written) => written,
        // What is left after pruning fits; if not, the text of the error is all we can give.
        Err(error) => {
            reading.wrong(Mistake::new("", error.to_string()));
            return Err(Mistakes(reading.found));
        }
    };
    let (of_files, warnings) = look(&written);
    let meant = written.meaning(cpus);
    let mistakes = meant.as_ref().err().cloned().unwrap_or_default();
    for mistake in mistakes.into_iter().chain(of_files) {
        reading.follow_up(mistake);
    }
    match meant {
        Ok(mut meaning) if reading.found.is_empty() => {
            meaning.warnings.extend(warnings);
            Ok(meaning)
        }
        Ok(_) | Err(_) => Err(Mistakes(reading.found)),
    }
}

fn parse(path: &Path, text: &str) -> Result<Value, Mistakes> {
    let wrong = |error: ::config::ConfigError| {
        // The parser's own text has line, column and a picture of the place.
        Mistakes::one(path, "", error.to_string().trim_end())
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let config = ::config::Config::builder()
        .add_source(File::from_str(text, FileFormat::Toml))
        .build()
        .map_err(wrong)?;
    Ok(config.cache)
}

struct Reading<'a> {
    path: &'a Path,
    root: Value,
    /// Keys that come from the environment, and the variables that named them.
    from_variables: BTreeMap<String, String>,
    found: Vec<Found>,
}

impl Reading<'_> {
    fn wrong(&mut self, mistake: Mistake) {
        let place = self
            .from_variables
            .iter()
            .find(|(key, _)| {
                let rest = mistake.key.strip_prefix(key.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['[', '.']))
            })
            .map_or_else(
                || self.path.display().to_string(),
                |(_, variable)| variable.clone(),
            );
        self.found.push(Found { place, mistake });
    }

    fn wrong_variable(&mut self, variable: &str, reason: impl Into<String>) {
        self.found.push(Found {
            place: "environment".to_owned(),
            mistake: Mistake::new(variable, reason),
        });
    }

    /// Adds a mistake of the second step, unless its key was found wrong, and taken out, in the
    /// first: then it is missing only for that.
    fn follow_up(&mut self, mistake: Mistake) {
        let known = self.found.iter().any(|found| {
            let key = found.mistake.key.as_str();
            key == mistake.key
                || key.strip_suffix("_file") == Some(mistake.key.as_str())
                || mistake.key.starts_with(&format!("{key}["))
                // A misspelled key is why a required one is missing.
                || (mistake.reason.starts_with("is missing")
                    && found.mistake.reason.contains(&format!(
                        "did you mean `{}`",
                        mistake.key.rsplit('.').next().unwrap_or_default()
                    )))
        });
        if !known {
            self.wrong(mistake);
        }
    }

    fn overlay(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        let variables: BTreeMap<String, String> = variables
            .into_iter()
            .filter(|(name, _)| name.starts_with(keys::PREFIX) && !keys::is_no_key(name))
            .collect();
        for (variable, text) in variables {
            let Some((path, key)) = keys::from_variable(&variable) else {
                let right = keys::respelled(&variable).unwrap_or_else(|| {
                    "OFFHOOK_SECTION__KEY, such as OFFHOOK_XMPP__SECRET or OFFHOOK_TRUNK__0__URI"
                        .to_owned()
                });
                self.wrong_variable(&variable, format!("names no key; write {right}"));
                continue;
            };
            let place = Some(&variable);
            let value = match key.kind {
                Kind::Text | Kind::Secret | Kind::SecretFile | Kind::File => {
                    Value::new(place, ValueKind::String(text))
                }
                Kind::Number => match text.trim().parse::<i64>() {
                    Ok(number) => Value::new(place, ValueKind::I64(number)),
                    Err(_) => Value::new(place, ValueKind::String(text)),
                },
                Kind::Switch => match text.trim().parse::<bool>() {
                    Ok(switch) => Value::new(place, ValueKind::Boolean(switch)),
                    Err(_) => Value::new(place, ValueKind::String(text)),
                },
                Kind::Texts => {
                    let items = text
                        .split(',')
                        .map(str::trim)
                        .filter(|item| !item.is_empty())
                        .map(|item| Value::new(place, ValueKind::String(item.to_owned())));
                    Value::new(place, ValueKind::Array(items.collect()))
                }
            };
            match put(&mut self.root, &path, value) {
                Ok(()) => {
                    // The environment's secret beats the file's secret_file, and the other way.
                    let twin = match key.kind {
                        Kind::SecretFile => path.strip_suffix("_file").map(str::to_owned),
                        _ => Some(format!("{path}_file")),
                    };
                    if let Some(twin) = twin
                        && !self.from_variables.contains_key(&twin)
                    {
                        take(&mut self.root, &twin);
                    }
                    self.from_variables.insert(path, variable);
                }
                Err(reason) => self.wrong_variable(&variable, reason),
            }
        }
    }

    /// Reads each `…_file` into its twin.
    fn take_secrets(&mut self, read_file: &dyn Fn(&Path) -> std::io::Result<String>) {
        for path in secret_files(&self.root) {
            let Some(twin) = path.strip_suffix("_file") else {
                continue;
            };
            // A value of another type stays, for the pruning to complain.
            let Some(ValueKind::String(name)) = get(&self.root, &path).map(|v| v.kind.clone())
            else {
                continue;
            };
            take(&mut self.root, &path);
            if name.trim().is_empty() {
                self.wrong(Mistake::new(&path, "is empty; write the name of a file"));
                continue;
            }
            if get(&self.root, twin).is_some() {
                self.wrong(Mistake::new(
                    &path,
                    format!("{twin} is there too; only one of them can be"),
                ));
                continue;
            }
            let file = self.beside(&name);
            let secret = match read_file(&file) {
                Ok(text) if text.trim().is_empty() => {
                    let reason = format!("{} is empty", file.display());
                    self.wrong(Mistake::new(&path, reason));
                    continue;
                }
                Ok(text) => text.trim_end_matches(['\r', '\n']).to_owned(),
                Err(error) => {
                    let reason = format!("{} cannot be read: {error}", file.display());
                    self.wrong(Mistake::new(&path, reason));
                    continue;
                }
            };
            if let Err(reason) = put(
                &mut self.root,
                twin,
                Value::new(None, ValueKind::String(secret)),
            ) {
                self.wrong(Mistake::new(&path, reason));
            }
        }
    }

    /// Makes the names of files whole.
    fn place_files(&mut self) {
        for key in keys::KEYS.iter().filter(|k| k.kind == Kind::File) {
            let Some(ValueKind::String(name)) = get(&self.root, key.path).map(|v| v.kind.clone())
            else {
                continue;
            };
            if name.trim().is_empty() {
                self.wrong(Mistake::new(key.path, "is empty; write the name of a file"));
                take(&mut self.root, key.path);
                continue;
            }
            let place = self.beside(&name).display().to_string();
            if let Err(reason) = put(
                &mut self.root,
                key.path,
                Value::new(None, ValueKind::String(place)),
            ) {
                self.wrong(Mistake::new(key.path, reason));
            }
        }
    }

    /// A relative name is meant from where the configuration lies.
    fn beside(&self, name: &str) -> PathBuf {
        self.path
            .parent()
            .map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
    }
}

/// The paths of all `…_file` keys of secrets that are there.
fn secret_files(root: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    for key in keys::KEYS.iter().filter(|k| k.kind == Kind::SecretFile) {
        match key.path.split_once("[].") {
            None => paths.push(key.path.to_owned()),
            Some((list, name)) => {
                if let Some(ValueKind::Array(items)) = get(root, list).map(|v| &v.kind) {
                    paths.extend((0..items.len()).map(|i| format!("{list}[{i}].{name}")));
                }
            }
        }
    }
    paths.retain(|path| get(root, path).is_some());
    paths
}

/// One step of a path.
enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split(['.', '['])
        .map(|part| match part.strip_suffix(']').map(str::parse) {
            Some(Ok(index)) => Step::Index(index),
            _ => Step::Name(part),
        })
}

fn get<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    steps(path).try_fold(root, |value, step| match (step, &value.kind) {
        (Step::Name(name), ValueKind::Table(table)) => table.get(name),
        (Step::Index(index), ValueKind::Array(list)) => list.get(index),
        _ => None,
    })
}

fn take(root: &mut Value, path: &str) {
    let Some((section, name)) = path.rsplit_once('.') else {
        return;
    };
    let section = steps(section).try_fold(root, |value, step| match (step, &mut value.kind) {
        (Step::Name(name), ValueKind::Table(table)) => table.get_mut(name),
        (Step::Index(index), ValueKind::Array(list)) => list.get_mut(index),
        _ => None,
    });
    if let Some(ValueKind::Table(table)) = section.map(|v| &mut v.kind) {
        table.remove(name);
    }
}

/// Puts `new` at `path`, with the sections on the way if they are not there.
fn put(root: &mut Value, path: &str, new: Value) -> Result<(), String> {
    let mut value = root;
    for step in steps(path) {
        let unset = matches!(value.kind, ValueKind::Nil);
        value = match step {
            Step::Name(name) => {
                if unset {
                    value.kind = ValueKind::Table(::config::Map::default());
                }
                let ValueKind::Table(table) = &mut value.kind else {
                    return Err("what the file has in its place is no section".to_owned());
                };
                table
                    .entry(name.to_owned())
                    .or_insert_with(|| Value::new(None, ValueKind::Nil))
            }
            Step::Index(index) => {
                if unset {
                    value.kind = ValueKind::Array(Vec::new());
                }
                let ValueKind::Array(list) = &mut value.kind else {
                    return Err("what the file has in its place is no list".to_owned());
                };
                if index > list.len() {
                    return Err(format!(
                        "leaves a gap: the next number in the list is {}",
                        list.len()
                    ));
                }
                if index == list.len() {
                    list.push(Value::new(None, ValueKind::Nil));
                }
                &mut list[index]
            }
        };
    }
    *value = new;
    Ok(())
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
