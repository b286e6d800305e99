//! Who may import whom: floors point down only, and side effects stay in `io/`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The floor of each room.
const FLOORS: &[(u8, &[&str])] = &[
    (
        0,
        &[
            "address",
            "border",
            "config",
            "description",
            "hash",
            "id",
            "leg",
            "net",
            "pii",
            "text",
            "timer",
        ],
    ),
    (1, &["xmpp", "sip", "media"]),
    (2, &["call", "observe", "store", "mix", "phone"]),
    (3, &["gateway"]),
    (4, &["io", "cli", "main"]),
];

/// These rooms never learn a protocol word, though their floor would let them.
const GROUND_ONLY: &[&str] = &["call", "observe", "store"];

const MOST_LINES: usize = 800;

fn floor_of(room: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(_, rooms)| rooms.contains(&room))
        .map(|(floor, _)| *floor)
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Every source file, with its path below `src/`, in order.
fn sources() -> BTreeMap<String, String> {
    fn walk(folder: &Path, files: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(src()).expect("below src");
                let name = name.display().to_string();
                files.insert(name, fs::read_to_string(&path).expect("readable"));
            }
        }
    }
    let mut files = BTreeMap::new();
    walk(&src(), &mut files);
    files
}

/// The first part of a path below `src/`: its room.
fn room_of(file: &str) -> &str {
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

/// How many modules below the crate's root a file's top level is.
fn depth_of(file: &str) -> usize {
    let parts = file.trim_end_matches(".rs").trim_end_matches("/mod");
    parts.split('/').count()
}

/// The rooms that a line names: `crate::ROOM`, `crate::{ROOM::…, ROOM}`, and `super::…::ROOM` where
/// that climbs out to the crate's root; in `main.rs` and doc links `offhook::ROOM` too.
fn rooms_named(text: &str, depth: usize) -> Vec<(usize, String)> {
    let mut named = Vec::new();
    let climb = "super::".repeat(depth);
    for root in ["crate::", "offhook::", climb.as_str()] {
        for (at, _) in text.match_indices(root) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let line = text[..at].matches('\n').count() + 1;
            if text.lines().nth(line - 1).is_some_and(|l| {
                let l = l.trim_start();
                l.starts_with("//") && !l.starts_with("///") && !l.starts_with("//!")
            }) {
                continue;
            }
            let rest = &text[at + root.len()..];
            for name in first_names(rest) {
                named.push((line, name));
            }
        }
    }
    named
}

/// The first names of a path, or of each path in its braces.
fn first_names(rest: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(list) = rest.strip_prefix('{') else {
        return vec![word(rest)];
    };
    let (mut names, mut level, mut start) = (Vec::new(), 1, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => level += 1,
            '}' => level -= 1,
            _ => {}
        }
        if level == 0 || (level == 1 && c == ',') {
            names.push(word(&list[start..at]));
            start = at + 1;
        }
        if level == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// What is wrong with a file's imports.
fn violations(file: &str, text: &str) -> Vec<String> {
    let room = room_of(file);
    let Some(floor) = floor_of(room) else {
        return vec![format!("{room}: give it a floor in tests/it/floors.rs")];
    };
    let mut wrong = Vec::new();
    for (line, other) in rooms_named(text, depth_of(file)) {
        // Names without a floor are macros and types at the root, or the file's own.
        let Some(other_floor) = floor_of(&other).filter(|_| other != room) else {
            continue;
        };
        let sideways = other_floor == floor && floor != 0 && floor != 4;
        if other_floor > floor || sideways {
            wrong.push(format!(
                "src/{file}:{line}: {room} (floor {floor}) uses {other} (floor {other_floor})"
            ));
        } else if GROUND_ONLY.contains(&room) && other_floor > 0 {
            wrong.push(format!(
                "src/{file}:{line}: {room} may use the ground floor only, not {other}"
            ));
        }
    }
    wrong
}

#[test]
fn imports_point_down_only() {
    let wrong: Vec<String> = sources()
        .iter()
        .filter(|(file, _)| *file != "lib.rs")
        .flat_map(|(file, text)| violations(file, text))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_wrong_import_is_caught_however_it_is_written() {
    let caught = |file: &str, text: &str| violations(file, text).len();
    assert_eq!(caught("call/mod.rs", "use crate::sip::Sip;"), 1);
    assert_eq!(
        caught("call/mod.rs", "use crate::{leg::Leg, sip::{A, B}};"),
        1
    );
    assert_eq!(
        caught("call/mod.rs", "use crate::{\n    leg,\n    sip,\n};"),
        1
    );
    assert_eq!(caught("call/mod.rs", "fn f(x: super::sip::Sip) {}"), 1);
    assert_eq!(caught("call/a.rs", "use super::super::xmpp;"), 1);
    assert_eq!(caught("call/a.rs", "use super::sip;"), 0);
    assert_eq!(caught("sip/mod.rs", "use crate::xmpp;"), 1);
    assert_eq!(caught("leg.rs", "use crate::call;"), 1);
    assert_eq!(caught("gateway/mod.rs", "use crate::io;"), 1);
    assert_eq!(caught("attic/mod.rs", ""), 1);
    assert_eq!(caught("mix/mod.rs", "use crate::xmpp;"), 0);
    assert_eq!(caught("io/mod.rs", "use crate::{gateway, sip};"), 0);
    assert_eq!(caught("leg.rs", "use crate::{address::Address, id};"), 0);
    assert_eq!(caught("sip/a.rs", "    // not crate::xmpp"), 0);
}

#[test]
fn no_source_file_is_too_long() {
    let long: Vec<String> = sources()
        .iter()
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(file, lines)| format!("src/{file}: {lines} lines; split it by verb"))
        .collect();
    assert!(long.is_empty(), "\n{}", long.join("\n"));
}

#[test]
fn the_map_names_every_room() {
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md");
    let map = fs::read_to_string(map).expect("docs/ARCHITECTURE.md");
    let mut missing: Vec<String> = sources()
        .keys()
        .map(|file| room_of(file).to_owned())
        .filter(|room| room != "lib" && !map.contains(&format!("`{room}`")))
        .collect();
    missing.dedup();
    assert!(
        missing.is_empty(),
        "not in docs/ARCHITECTURE.md: {missing:?}"
    );
}

#[test]
fn side_effects_stay_on_the_top_floor() {
    let wrong: Vec<String> = sources()
        .iter()
        .filter(|(file, _)| !matches!(room_of(file), "io" | "cli" | "main"))
        .filter(|(file, _)| !file.contains("tests"))
        .map(|(file, text)| (file, text.split("#[cfg(test)]").next().unwrap_or(text)))
        .filter(|(_, text)| {
            text.contains("disallowed_methods") || text.contains("disallowed_types")
        })
        .map(|(file, _)| format!("src/{file} silences the lint that keeps it pure"))
        .collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
