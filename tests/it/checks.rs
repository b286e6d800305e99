//! The acceptance list of MIX in docs/mix.md: each of its checks names tests, and each of those is
//! there.

use std::fs;
use std::path::Path;

/// How many checks there are.
const CHECKS: usize = 42;
/// Those that are not met, as the page says.
const MISSING: &[usize] = &[];
/// Where the files of tests may be, and what their names begin with in the table.
const PLACES: &[(&str, &str)] = &[
    ("it/", "tests/it/"),
    ("test_", "tests/e2e/test_"),
    ("address.rs", "src/mix/address.rs"),
    ("", "src/mix/tests/"),
];

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Number and tests of each row of the table.
fn rows() -> Vec<(usize, Vec<String>)> {
    let page = file("docs/mix.md");
    let (_, table) = page.split_once("## The acceptance list").unwrap();
    let rows = table.lines().filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.split(" | ").collect();
        let number = cells[0].parse().ok()?;
        let named = cells.last()?.split('`').skip(1).step_by(2);
        Some((number, named.map(str::to_owned).collect()))
    });
    rows.collect()
}

/// True if a file has a test of this name: in Rust one that is marked as such.
fn is_there(name: &str) -> bool {
    let (place, test) = name.split_once("::").unwrap_or((name, ""));
    let (start, folder) = PLACES.iter().find(|(s, _)| place.starts_with(s)).unwrap();
    let text = file(&format!("{folder}{}", &place[start.len()..]));
    match place.ends_with(".py") {
        true => test.starts_with("test_") && text.contains(&format!("\nasync def {test}(")),
        false => {
            let found = text.find(&format!("fn {test}("));
            found.is_some_and(|at| text[..at].trim_end().ends_with("#[test]"))
        }
    }
}

#[test]
fn every_check_has_tests_that_are_there() {
    let rows = rows();
    let numbers: Vec<usize> = rows.iter().map(|(number, _)| *number).collect();
    let met = (1..=CHECKS).filter(|number| !MISSING.contains(number));
    assert_eq!(numbers, met.collect::<Vec<_>>());
    for (number, tests) in rows {
        assert!(!tests.is_empty(), "check {number} has no test");
        for test in tests {
            assert!(is_there(&test), "check {number}: there is no {test}");
        }
    }
}

#[test]
fn a_test_that_is_not_there_is_noticed() {
    assert!(is_there("golden.rs::vcard_through_channel"));
    assert!(!is_there("golden.rs::vcard_through_channels"));
    assert!(!is_there("golden.rs::bench"), "that is no test");
    assert!(!is_there("test_mix.py::join"), "nor is that");
}
