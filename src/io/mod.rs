//! The floor with side effects: sockets, clock, files, threads.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

pub mod media;
