//! Integration tests: one binary.

mod torture;
