//! The table that comes out.

use std::fmt;

/// One line of the table.
#[derive(Debug)]
struct Row {
    what: String,
    measured: String,
    target: String,
    verdict: &'static str,
}

/// All lines.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// A number that shall not be more than `limit`.
    pub fn at_most(&mut self, what: &str, measured: f64, limit: f64, unit: &str) {
        self.rows.push(Row {
            what: what.to_owned(),
            measured: format!("{} {unit}", short(measured)),
            target: format!("≤ {} {unit}", short(limit)),
            verdict: if measured <= limit { "ok" } else { "miss" },
        });
    }

    /// A number that shall not be less than `limit`.
    pub fn at_least(&mut self, what: &str, measured: f64, limit: f64, unit: &str) {
        self.rows.push(Row {
            what: what.to_owned(),
            measured: format!("{} {unit}", short(measured)),
            target: format!("≥ {} {unit}", short(limit)),
            verdict: if measured >= limit { "ok" } else { "miss" },
        });
    }

    /// Something to know that has no target.
    pub fn note(&mut self, what: &str, measured: impl Into<String>) {
        self.rows.push(Row {
            what: what.to_owned(),
            measured: measured.into(),
            target: String::new(),
            verdict: "",
        });
    }
}

/// Three digits that matter.
pub fn short(number: f64) -> String {
    match number.abs() {
        n if n >= 100.0 => format!("{number:.0}"),
        n if n >= 10.0 => format!("{number:.1}"),
        n if n >= 0.1 => format!("{number:.2}"),
        _ => format!("{number:.3}"),
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: fn(&Row) -> &str, title: &str| {
            let longest = self
                .rows
                .iter()
                .map(|row| column(row).chars().count())
                .max();
            longest.unwrap_or(0).max(title.chars().count())
        };
        let what = width(|row| &row.what, "what");
        let measured = width(|row| &row.measured, "measured");
        let target = width(|row| &row.target, "target");
        writeln!(
            f,
            "| {:<what$} | {:<measured$} | {:<target$} |      |",
            "what", "measured", "target"
        )?;
        writeln!(
            f,
            "|{:-<w$}|{:-<m$}|{:-<t$}|------|",
            "",
            "",
            "",
            w = what + 2,
            m = measured + 2,
            t = target + 2
        )?;
        for row in &self.rows {
            writeln!(
                f,
                "| {:<what$} | {:<measured$} | {:<target$} | {:<4} |",
                row.what, row.measured, row.target, row.verdict
            )?;
        }
        Ok(())
    }
}
