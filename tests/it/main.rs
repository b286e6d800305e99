//! Integration tests: one binary.

mod conf;
mod floors;
