//! Integration tests: one binary.
// Reading the project's own files is what some of these tests are for.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

#[path = "../../fuzz/src/bodies.rs"]
mod bodies;
mod calls;
mod channels;
mod chaos;
mod checks;
mod clients;
mod conf;
mod corpus;
mod day;
mod faults;
mod floors;
mod messages;
mod pii;
mod reasons;
mod texts;
mod torture;
mod transfers;
mod world;
