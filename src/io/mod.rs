//! The only floor with side effects: sockets, clock, files, environment, threads.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod cli;
pub mod config;
