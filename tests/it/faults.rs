//! docs/testing.md names a test for each fault that others have: each must be there.

use std::collections::BTreeSet;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The rows of the table: the fault's name, and the tests.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    let table = page.split("## Faults that others have").nth(1).unwrap();
    table
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
            let [name, _, tests] = cells.as_slice() else {
                return None;
            };
            let tests = tests.split('`').skip(1).step_by(2).map(str::to_owned);
            let name = name.trim().to_owned();
            (!name.is_empty()).then(|| (name, tests.collect()))
        })
        .collect()
}

/// The names of all functions below a folder.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // Other people's code is not ours to search.
            if !path.ends_with("web") {
                functions(&path, names);
            }
            continue;
        }
        let extension = path.extension().and_then(|e| e.to_str());
        let word = match extension {
            Some("rs") => "fn ",
            Some("py") => "def ",
            _ => continue,
        };
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines() {
            let declared = line.trim_start().trim_start_matches("async ");
            if let Some(rest) = declared.strip_prefix(word)
                && let Some((name, _)) = rest.split_once('(')
            {
                names.insert(name.to_owned());
            }
        }
    }
}

#[test]
fn each_fault_of_others_has_a_test_that_is_there() {
    let page = std::fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let rows = rows(&page);
    let mut there = BTreeSet::new();
    functions(&root().join("src"), &mut there);
    functions(&root().join("tests"), &mut there);
    assert!(rows.len() >= 30, "the table has {} rows", rows.len());
    for (fault, tests) in rows {
        assert!(!tests.is_empty(), "{fault} has no test");
        for test in tests {
            assert!(there.contains(&test), "{fault}: there is no test {test}");
        }
    }
}
