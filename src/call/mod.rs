//! The call room: knows no protocol word.

pub mod dialplan;
