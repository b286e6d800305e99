//! The files in `conf/` and the operator's page: they parse, and say what the program does.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use offhook::config::keys::{KEYS, Kind};
use offhook::config::{Config, Meaning};
use offhook::io::cli;
use offhook::io::config::{Mistakes, interpret};

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn reads(text: &str) -> Result<Meaning, Mistakes> {
    interpret(
        Path::new("/etc/offhook/offhook.toml"),
        text,
        [],
        2,
        &|path| match path.starts_with("/etc/offhook") {
            true => Ok("a long random text".to_owned()),
            false => Err(std::io::ErrorKind::NotFound.into()),
        },
    )
}

fn meant(text: &str) -> Config {
    match reads(text) {
        Ok(meaning) => meaning.config,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

/// A line that shows a key: `#key = …`, `#[section]`; prose has a space after its `#`.
fn shows_a_key(line: &str) -> bool {
    line.strip_prefix('#')
        .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
}

/// The lines of `conf/offhook.toml` that hold or show a key, with the key's path.
fn keys_of_the_file() -> Vec<(String, String)> {
    let mut section = String::new();
    let mut keys = Vec::new();
    for line in file("conf/offhook.toml").lines() {
        let line = match shows_a_key(line) {
            true => &line[1..],
            false => line,
        };
        if let Some(name) = line.strip_prefix("[[").and_then(|l| l.strip_suffix("]]")) {
            section = format!("{name}[]");
        } else if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((name, value)) = line.split_once(" = ")
            && !line.starts_with('#')
        {
            keys.push((format!("{section}.{name}"), value.to_owned()));
        }
    }
    keys
}

#[test]
fn every_key_is_listed_with_its_default() {
    let listed = keys_of_the_file();
    for key in KEYS {
        let Some((_, value)) = listed.iter().find(|(path, _)| path == key.path) else {
            // Of a secret and its twin, one is enough.
            let twin = listed.iter().any(|(path, _)| {
                matches!(key.kind, Kind::Secret) && *path == format!("{}_file", key.path)
            });
            assert!(twin, "conf/offhook.toml does not list {}", key.path);
            continue;
        };
        if let Some(default) = key.default {
            assert_eq!(value, default, "the default of {}", key.path);
        }
    }
    for (path, _) in listed {
        assert!(
            KEYS.iter().any(|k| k.path == path),
            "there is no key {path}"
        );
    }
}

#[test]
fn without_its_comments_the_file_is_the_defaults() {
    let least = "[xmpp]\ndomain = \"phone.example.org\"\nsecret = \"a long random text\"\n";
    assert_eq!(meant(&file("conf/offhook.toml")), meant(least));
}

#[test]
fn every_key_that_is_shown_can_be_used() {
    // But for the secret beside its twin.
    let skipped = ["#secret = "];
    let text: Vec<String> = file("conf/offhook.toml")
        .lines()
        .filter(|line| !skipped.iter().any(|s| line.starts_with(s)))
        .map(|line| match shows_a_key(line) {
            true => line[1..].to_owned(),
            false => line.to_owned(),
        })
        .collect();
    let config = meant(&text.join("\n"));
    assert_eq!(config.trunks.len(), 1);
    assert_eq!(config.numbers.len(), 1);
}

#[test]
fn the_server_snippets_fit_the_configuration() {
    let prosody = file("conf/prosody.cfg.lua");
    for words in [
        "Component \"phone.example.org\"",
        "component_ports = { 5347 }",
        "nagle = false",
    ] {
        assert!(prosody.contains(words), "{words}");
    }
    let ejabberd = file("conf/ejabberd.yml");
    for words in [
        "\"phone.example.org\":",
        "port: 5347",
        "global_routes: false",
        "check_from: true",
        "module: ejabberd_service",
    ] {
        assert!(ejabberd.contains(words), "{words}");
    }
    assert!(!ejabberd.contains('\t'), "YAML has no tabs");
    let config = meant(&file("conf/offhook.toml"));
    assert_eq!(config.xmpp.domain, "phone.example.org");
    assert_eq!(config.xmpp.server, "127.0.0.1:5347");
}

#[test]
fn the_unit_file_is_one() {
    let mut section = "";
    let mut seen = Vec::new();
    let unit = file("conf/offhook.service");
    for line in unit
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
    {
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            section = name;
            continue;
        }
        let (key, value) = line.split_once('=').expect(line);
        seen.push(format!("{section}.{key}={value}"));
    }
    let limit = |key: &str| {
        let line = seen.iter().find_map(|s| s.strip_prefix(key));
        line.and_then(|seconds| seconds.parse().ok()).expect(key)
    };
    // What is left when the unit is killed has heard no goodbye.
    let drain = offhook::io::run::DRAIN_LIMIT.as_secs();
    assert!(drain + 5 <= limit("Service.TimeoutStopSec="));
    let page = file("docs/operator.md");
    assert!(
        page.contains(&format!("after {drain} s")),
        "docs/operator.md: {drain} s"
    );
    for line in [
        "Service.Type=notify",
        "Service.ExecStart=/usr/bin/offhook run --config /etc/offhook/offhook.toml",
        "Service.NoNewPrivileges=yes",
        "Install.WantedBy=multi-user.target",
    ] {
        assert!(seen.iter().any(|s| s == line), "{line}");
    }
}

/// A configuration in a folder of its own, with the secrets that it names.
fn on_disk(name: &str, config: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    for secret in ["xmpp.secret", "carrier.password"] {
        fs::write(folder.join(secret), "a long random text\n").expect("a file");
    }
    let path = folder.join("offhook.toml");
    fs::write(&path, config).expect("a file");
    path
}

/// The exit status of a command, and what it wrote to stdout and stderr.
fn said(
    command: impl FnOnce(&mut dyn Write, &mut dyn Write) -> std::io::Result<u8>,
) -> (u8, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = command(&mut out, &mut err).expect("memory takes it all");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status, text(out), text(err))
}

#[test]
fn check_says_what_a_file_means_or_what_is_wrong() {
    let good = on_disk("check", &file("conf/offhook.toml"));
    let (status, out, err) = said(|out, err| cli::check(&good, out, err));
    assert_eq!((status, err.as_str()), (cli::DONE, ""));
    assert!(
        out.contains("xmpp     component phone.example.org"),
        "{out}"
    );
    assert!(
        out.contains("warning  trunk: there is no [[trunk]]"),
        "{out}"
    );
    assert!(out.ends_with("offhook.toml is fine\n"), "{out}");

    let bad = on_disk("bad", "[xmpp]\nsecret_file = \"nowhere\"\n");
    let (status, out, err) = said(|out, err| cli::check(&bad, out, err));
    assert_eq!((status, out.as_str()), (cli::WRONG, ""));
    assert_eq!(err.lines().count(), 2, "{err}");
    assert!(
        err.contains("xmpp.secret_file: ") && err.contains("xmpp.domain: "),
        "{err}"
    );

    let torn = on_disk("torn", "[xmpp\ndomain = 1\n");
    let (status, _, err) = said(|out, err| cli::check(&torn, out, err));
    assert_eq!(status, cli::WRONG);
    assert!(
        err.contains("offhook.toml: ") && err.contains("line 1"),
        "{err}"
    );

    let nowhere = bad.with_file_name("nowhere.toml");
    let (status, _, err) = said(|out, err| cli::check(&nowhere, out, err));
    assert_eq!(status, cli::WRONG);
    assert!(err.contains("nowhere.toml: cannot be read: "), "{err}");
}

#[test]
fn route_tells_why_a_call_goes_nowhere() {
    let page = file("docs/operator.md");
    let config = on_disk("route", block_after(&page, "A configuration to start with"));
    let refused = |from: &str, to: &str| {
        let from = from.parse().expect("a JID");
        let (status, out, err) = said(|out, err| cli::route(&config, &from, to, out, err));
        assert_eq!((status, out.as_str()), (cli::FAILED, ""));
        err
    };
    let stranger = refused("tybalt@example.net", "+15551234567");
    assert!(stranger.starts_with("forbidden: "), "{stranger}");
    let nowhere = refused("juliet@example.org", "sip:romeo@example.net");
    assert!(
        nowhere.contains("no route takes this SIP domain"),
        "{nowhere}"
    );
    assert!(!refused("juliet@example.org", "???").is_empty());
}

/// The block of docs/operator.md that follows a line with `words`.
fn block_after<'a>(page: &'a str, words: &str) -> &'a str {
    let (_, after) = page.split_once(words).unwrap_or_else(|| panic!("{words}"));
    let (_, block) = after.split_once("```").expect("a block");
    let (_, block) = block.split_once('\n').expect("a block");
    block.split_once("```").expect("the end of the block").0
}

#[test]
fn the_operators_page_shows_what_check_prints() {
    let page = file("docs/operator.md");
    let config = block_after(&page, "A configuration to start with");
    let meaning = reads(config).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(meaning.warnings, []);
    let shown = block_after(&page, "If all is well");
    let expected = format!(
        "$ offhook check --config /etc/offhook/offhook.toml\n{}/etc/offhook/offhook.toml is fine\n",
        meaning.config.report()
    );
    assert_eq!(shown, expected, "docs/operator.md should say:\n{expected}");

    let config = on_disk("operator", config);
    let (status, out, err) = said(|out, err| {
        let from = "juliet@example.org".parse().expect("a JID");
        cli::route(&config, &from, "(555) 123-4567", out, err)
    });
    assert_eq!((status, err.as_str()), (cli::DONE, ""));
    let shown = block_after(&page, "To see how one call would go");
    let expected = format!(
        "$ offhook route --config /etc/offhook/offhook.toml --from juliet@example.org --to \
         \"(555) 123-4567\"\n{out}"
    );
    assert_eq!(shown, expected, "docs/operator.md should say:\n{expected}");

    let wrong = block_after(&page, "A file with mistakes");
    let told = reads(wrong).expect_err("has mistakes").to_string();
    let shown = block_after(&page, "is answered with all of them");
    let expected = format!("$ offhook check --config /etc/offhook/offhook.toml\n{told}\n");
    assert_eq!(shown, expected, "docs/operator.md should say:\n{expected}");
}
