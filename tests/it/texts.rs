//! `docs/texts.md` is printed from the table of phrases. After a change, run the test once with
//! `PRINT_DOCS=1`.

use std::fmt::Write as _;
use std::path::Path;

use offhook::leg::EndReason;
use offhook::xmpp::text::{Language, Phrase, failure};

const HEAD: &str = "# What people read
Printed by a test from the table that the program runs by (`src/xmpp/text/phrases.rs`): do not edit.
Users read the language that their client names in `xml:lang`, and English if it names none of these.
What stands in braces is filled in. After the sentence about a failed call stands the SIP status, if
there was one; after a missed call, its time.
";

/// The page that a test prints, or fails if it is not the one in `docs/`.
pub fn check_page(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    if std::env::var_os("PRINT_DOCS").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == page,
        "docs/{name} is old; run this test with PRINT_DOCS=1"
    );
}

fn page() -> Result<String, std::fmt::Error> {
    let mut out = HEAD.to_owned();
    write!(out, "\n| |")?;
    for language in Language::ALL {
        write!(out, " `{}` |", language.tag())?;
    }
    writeln!(out, "\n|---|---|---|---|---|")?;
    for &phrase in Phrase::ALL {
        write!(out, "| {} |", phrase.name())?;
        for language in Language::ALL {
            write!(out, " {} |", phrase.text(language))?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "\n## When a call fails\nThe reasons are those of [reasons.md](reasons.md).\n\n\
         | reason | the user reads |\n|---|---|"
    )?;
    for &reason in EndReason::ALL {
        let phrase = failure(reason).map_or("nothing", Phrase::name);
        writeln!(out, "| {reason} | {phrase} |")?;
    }
    Ok(out)
}

#[test]
fn the_page_of_texts_says_what_the_table_says() {
    check_page("texts.md", &page().unwrap());
}

#[test]
fn every_language_has_the_same_places_to_fill_in() {
    for &phrase in Phrase::ALL {
        let places = |language| {
            let text: &str = phrase.text(language);
            let mut places: Vec<&str> = text.split('{').skip(1).collect();
            for place in &mut places {
                *place = place.split('}').next().unwrap();
            }
            places.sort_unstable();
            places
        };
        for language in Language::ALL {
            assert_eq!(places(language), places(Language::English), "{phrase:?}");
        }
    }
}
