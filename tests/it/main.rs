//! Integration tests: one binary.
// Reading the project's own files is what some of these tests are for.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

mod calls;
mod chaos;
mod conf;
mod floors;
mod reasons;
mod torture;
mod world;
