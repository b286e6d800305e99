//! Offhook: phone calls for XMPP.
//!
//! The house has five floors, and imports point down only (`tests/it/floors.rs` holds it):
//!
//! | floor | rooms |
//! |---|---|
//! | 4 | `io`: sockets, clock, files, threads; `main` |
//! | 3 | `gateway`: wiring of the whole, pure |
//! | 2 | `call`: the call table; `mix`: the MIX service; `store`: what waits until it is kept |
//! | 1 | `xmpp`, `sip`, `media`: a wire each; strangers to each other |
//! | 0 | ground: `address`, `border`, `config`, `description`, `hash`, `id`, `leg`, `net`, `pii`, `text`, `timer` |
//!
//! Floors 0–3 are sans-IO: the clock is an argument, randomness comes from one seed, and no
//! socket, file, thread or lock is in sight.

pub mod address;
pub mod border;
pub mod call;
pub mod config;
pub mod description;
pub mod gateway;
pub mod hash;
pub mod id;
pub mod io;
pub mod leg;
pub mod media;
pub mod mix;
pub mod net;
pub mod observe;
pub mod phone;
pub mod pii;
pub mod sip;
pub mod store;
pub mod text;
pub mod timer;
pub mod xmpp;
