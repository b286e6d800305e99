//! docs/testing.md names a test for each fault that others have, and for each thing that a trunk may
//! do: each must be there.

use std::collections::BTreeSet;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The lines of a section's table.
fn table<'a>(page: &'a str, title: &str) -> impl Iterator<Item = &'a str> {
    let section = page.split(&format!("## {title}\n")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    section.lines().filter(|line| line.starts_with('|'))
}

/// What stands in backticks in a cell.
fn names(cell: &str) -> Vec<String> {
    let names = cell.split('`').skip(1).step_by(2);
    names.map(str::to_owned).collect()
}

/// The rows of the table: the fault's name, and the tests.
fn rows(page: &str) -> Vec<(String, Vec<String>)> {
    table(page, "Faults that others have")
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
            let [name, _, tests] = cells.as_slice() else {
                return None;
            };
            let name = name.trim().to_owned();
            (!name.is_empty()).then(|| (name, names(tests)))
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

#[test]
fn each_thing_that_a_trunk_may_do_is_played_in_a_test() {
    let page = std::fs::read_to_string(root().join("docs/testing.md")).unwrap();
    let folder = root().join("tests/e2e");
    let mut tests = BTreeSet::new();
    functions(&folder, &mut tests);
    let mut code = String::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "py") {
            code += &std::fs::read_to_string(path).unwrap();
        }
    }
    let mut played = BTreeSet::new();
    for line in table(&page, "What a trunk may do").skip(2) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", what, scenarios, named, ""] = cells.as_slice() else {
            panic!("not three cells: {line}");
        };
        assert!(!names(named).is_empty(), "{what} has no test");
        for test in names(named) {
            assert!(tests.contains(&test), "{what}: there is no test {test}");
        }
        for scenario in names(scenarios) {
            let used = code.contains(&format!("\"{scenario}\""));
            assert!(used, "{what}: no test plays {scenario}");
            played.insert(scenario);
        }
    }
    let mut there = BTreeSet::new();
    for entry in std::fs::read_dir(folder.join("sipp")).unwrap() {
        let path = entry.unwrap().path();
        there.insert(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    assert_eq!(played, there, "the scenarios of the table, and the files");
}
