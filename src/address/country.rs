//! The numbering plans of all countries, by the `phonenumber` crate: how people dial at home, and which
//! numbers there are.
//!
//! Only what people type comes here. A contact JID says its number whole, and is read without a plan.
//!
//! Plans lag behind the world, and examples in books are in none of them; so a number that no plan knows
//! is taken if its length is one that its country has, and if it is written whole.

use std::fmt;

use phonenumber::country::{Id, Source};
use phonenumber::metadata::{DATABASE, Descriptor, Metadata};
use phonenumber::{Mode, PhoneNumber};

use super::E164;
use super::contact::AddressError;

/// A country with a numbering plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country(Id);

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (+{})", self.0.as_ref(), self.code())
    }
}

/// Reads the plans, which takes some 50 ms once; whoever asks first waits for them otherwise.
pub fn load() {
    let _ = DATABASE.iter().count();
}

impl Country {
    /// By its two letters (ISO 3166-1), or by its country code, with or without `+`: of several
    /// countries with one code it is the one that has given it out, such as the USA for 1.
    pub fn named(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits = text.strip_prefix('+').unwrap_or(text);
        let id = match digits.parse::<u16>() {
            Ok(code) => DATABASE.region(&code)?.first()?.parse().ok()?,
            Err(_) => text.to_ascii_uppercase().parse::<Id>().ok()?,
        };
        DATABASE.by_id(id.as_ref()).map(|_| Self(id))
    }

    /// The country of a number.
    pub fn of(number: &E164) -> Option<Self> {
        let number = phonenumber::parse(None, number.as_str()).ok()?;
        let known = number.country().id().map(Self);
        known.or_else(|| Self::named(&number.code().value().to_string()))
    }

    fn plan(self) -> Option<&'static Metadata> {
        DATABASE.by_id(self.0.as_ref())
    }

    fn code(self) -> u16 {
        self.plan().map_or(0, Metadata::country_code)
    }

    /// The whole number of what is dialled within the country.
    pub fn complete(self, digits: &str) -> Result<E164, AddressError> {
        let code = self.code();
        let incomplete = || AddressError::Incomplete(digits.to_owned());
        let with_code = |national: &str| E164::parse(&format!("+{code}{national}"));
        let read = phonenumber::parse(Some(self.0), digits).ok();
        let read = read.map(|number| (number.is_valid(), number));
        // COMPAT(phonenumber, 0.3): it takes the first digits of 391 2312312 (Italy) for the country
        // code, and those of 800 5553535 (Russia) for the prefix: its issue 68.
        let misread = match &read {
            Some((true, number)) => number.code().source() == Source::Number,
            Some((false, _)) | None => true,
        };
        if misread && is_valid(code, digits) {
            return with_code(digits).ok_or_else(incomplete);
        }
        match read {
            Some((true, number)) => return written(&number).ok_or_else(incomplete),
            Some((false, number)) if number.code().source() == Source::Idd => {
                return whole(&number.format().mode(Mode::E164).to_string());
            }
            Some((false, _)) | None => {}
        }
        let national = match self.plan().and_then(Metadata::national_prefix) {
            None => Some(digits),
            // North America leaves its prefix out as it likes.
            Some("1") => Some(digits.strip_prefix('1').unwrap_or(digits)),
            // Without the prefix it is short of its area code.
            Some(prefix) => digits.strip_prefix(prefix),
        };
        let national = national.filter(|national| is_possible(code, national.len()));
        national.and_then(with_code).ok_or_else(incomplete)
    }
}

/// The number that somebody has written with a `+`.
pub fn whole(digits: &str) -> Result<E164, AddressError> {
    let Some(as_written) = E164::parse(digits) else {
        return Err(AddressError::NotE164(digits.to_owned()));
    };
    let Some((code, national)) = split(digits) else {
        return Err(AddressError::NoSuchCountry(digits.to_owned()));
    };
    if is_valid(code, national) {
        return Ok(as_written);
    }
    // With the prefix that is only for those at home.
    if let Ok(number) = phonenumber::parse(None, digits)
        && number.is_valid()
    {
        return Ok(written(&number).unwrap_or(as_written));
    }
    match is_possible(code, national.len()) {
        true => Ok(as_written),
        false => Err(AddressError::WrongLength(digits.to_owned())),
    }
}

fn written(number: &PhoneNumber) -> Option<E164> {
    E164::parse(&number.format().mode(Mode::E164).to_string())
}

/// The country code and what follows it; no code is the beginning of another one.
fn split(digits: &str) -> Option<(u16, &str)> {
    (2..=4).find_map(|end| {
        let code = digits.get(1..end)?.parse().ok()?;
        DATABASE.by_code(&code).map(|_| (code, &digits[end..]))
    })
}

/// The kinds of numbers of all plans with a country code, but for those of a few digits that companies
/// have: with them 555-1234 would be a whole number in North America.
fn kinds(code: u16) -> impl Iterator<Item = &'static Descriptor> {
    let plans = DATABASE.by_code(&code).unwrap_or_default();
    let kinds = plans.into_iter().flat_map(|plan| {
        let kinds = plan.descriptors();
        [
            kinds.fixed_line(),
            kinds.mobile(),
            kinds.toll_free(),
            kinds.premium_rate(),
            kinds.shared_cost(),
            kinds.personal_number(),
            kinds.voip(),
        ]
    });
    kinds.flatten()
}

/// True if a plan has this very number.
fn is_valid(code: u16, national: &str) -> bool {
    kinds(code).any(|kind| kind.is_match(national))
}

/// True if some kind of number with this country code has so many digits behind it.
fn is_possible(code: u16, digits: usize) -> bool {
    let mut lengths = kinds(code).flat_map(Descriptor::possible_length);
    lengths.any(|length| usize::from(*length) == digits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::TokenMaker;

    #[test]
    fn a_country_is_named_by_letters_or_by_its_code() {
        let named = |text| Country::named(text).map(|country| country.to_string());
        assert_eq!(named("DE").as_deref(), Some("DE (+49)"));
        assert_eq!(named("ca").as_deref(), Some("CA (+1)"));
        for text in ["1", "+1", " us "] {
            assert_eq!(named(text).as_deref(), Some("US (+1)"), "{text}");
        }
        assert_eq!(named("44").as_deref(), Some("GB (+44)"));
        // No country: codes of services, letters and numbers that nobody has.
        for text in ["", "0", "999", "800", "XX", "AQ", "Germany", "-1", "70000"] {
            assert_eq!(named(text), None, "{text}");
        }
        let of = |number| Country::of(&E164::parse(number).unwrap());
        assert_eq!(of("+14168675309"), Country::named("CA"));
        assert_eq!(of("+15551234567"), Country::named("US"));
        assert_eq!(of("+4930123456"), Country::named("DE"));
        assert_eq!(of("+80012345678"), None);
    }

    /// Of each plan every kind of number, as its keepers give it for an example.
    fn examples() -> impl Iterator<Item = (Country, &'static str)> {
        DATABASE.iter().flat_map(|plan| {
            let country = plan.id().parse().ok().map(Country);
            let kinds = plan.descriptors();
            let kinds = [kinds.fixed_line(), kinds.mobile(), kinds.toll_free()];
            let examples = kinds
                .into_iter()
                .flatten()
                .filter_map(|kind| kind.example());
            examples.filter_map(move |example| Some((country?, example)))
        })
    }

    #[test]
    fn the_example_of_every_country_is_understood_at_home_and_from_abroad() {
        let (mut at_home, mut with_prefix) = (0, 0);
        for (country, example) in examples() {
            let number = format!("+{}{example}", country.code());
            let read = whole(&number).map(|read| read.to_string());
            assert_eq!(read.as_deref(), Ok(number.as_str()), "{country}");
            // Countries that share a code also share its examples: their plans differ in the rest.
            let read = country.complete(example).map(|read| read.to_string());
            assert_eq!(read.as_deref(), Ok(number.as_str()), "{country} {example}");
            at_home += 1;
            let prefix = country.plan().and_then(Metadata::national_prefix);
            if let Some(prefix) = prefix {
                let dialled = format!("{prefix}{example}");
                let read = country.complete(&dialled).map(|read| read.to_string());
                assert_eq!(read.as_deref(), Ok(number.as_str()), "{country} {dialled}");
                with_prefix += 1;
            }
        }
        assert!(
            at_home > 600 && with_prefix > 300,
            "{at_home} {with_prefix}"
        );
    }

    #[test]
    fn no_digits_panic_and_what_comes_out_is_a_number() {
        let mut tokens = TokenMaker::new([9; 32]);
        let countries: Vec<Country> = DATABASE
            .iter()
            .filter_map(|plan| plan.id().parse().ok().map(Country))
            .collect();
        for _ in 0..500 {
            let length = tokens.below(24);
            let digits: String = (0..length)
                .map(|_| char::from(b'0' + tokens.below(10) as u8))
                .collect();
            let country = countries[tokens.below(countries.len() as u64) as usize];
            if let Ok(number) = country.complete(&digits) {
                assert!(E164::parse(number.as_str()).is_some());
            }
            let _ = whole(&format!("+{digits}"));
        }
    }
}
