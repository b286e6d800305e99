//! The wrapper that everything personal wears in a log line.

use std::fmt;

/// A number, a JID, an address or a text that belongs to somebody. `{}` shows a redacted form, fit
/// for any log level; `{:?}` shows it whole and is for debug and below.
///
/// ```
/// use offhook::pii::Pii;
/// assert_eq!(Pii("+15551234567").to_string(), "+15…67");
/// assert_eq!(format!("{:?}", Pii("+15551234567")), "+15551234567");
/// ```
pub struct Pii<T>(pub T);

impl<T: fmt::Display> fmt::Display for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.0.to_string();
        let length = whole.chars().count();
        if length < 9 {
            return f.write_str("…");
        }
        let head: String = whole.chars().take(3).collect();
        let tail: String = whole.chars().skip(length - 2).collect();
        write!(f, "{head}…{tail}")
    }
}

impl<T: fmt::Display> fmt::Debug for Pii<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
