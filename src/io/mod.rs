//! The only floor with side effects: sockets, the clock, files, threads, signals.
//!
//! One task owns the gateway and hands it what comes (`run.rs`); sockets have tasks of their own
//! (`component.rs`, `sip.rs`), media has threads of its own (`media.rs`). `dial.rs` and `echo.rs`
//! are small programs on the same rooms.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

mod admin;
mod archive;
pub mod cli;
pub mod client;
pub mod component;
pub mod config;
pub mod dial;
pub mod echo;
pub mod gather;
mod incoming;
pub mod log;
pub mod media;
mod outcome;
mod owner;
mod readiness;
mod resolve;
pub mod run;
pub mod sip;
pub mod store;
mod stream;
mod tls;

/// Why a socket cannot be had, and what to do about it.
fn advised(error: &std::io::Error) -> String {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    let advice = match error.kind() {
        AddrInUse => "another program has it, perhaps another gateway; `ss -anp` says which",
        AddrNotAvailable => "it is no address of this host; `ip address` says which are",
        PermissionDenied => "ports below 1024 are not for everybody; choose another",
        _ => return error.to_string(),
    };
    format!("{error}: {advice}")
}

/// Draws the seed of all randomness from the system.
pub fn seed() -> std::io::Result<[u8; 32]> {
    let mut seed = [0; 32];
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
    Ok(seed)
}

/// Prints a line for people or programs; a closed pipe is not our trouble.
pub(crate) fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// Tells systemd that we are ready (sd_notify), if it asked.
fn notify_systemd() {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let told = std::os::unix::net::UnixDatagram::unbound().and_then(|socket| {
        // A leading @ means the abstract name space.
        let text = path.to_string_lossy();
        match text.strip_prefix('@') {
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                socket.send_to_addr(b"READY=1", &address)
            }
            None => socket.send_to(b"READY=1", &path),
        }
    });
    if let Err(error) = told {
        tracing::warn!(%error, "systemd could not be told that we are ready");
    }
}

/// The address that packets to `remote` leave from; sends nothing.
pub(super) fn leaving_address(bind: IpAddr, remote: SocketAddr) -> std::io::Result<IpAddr> {
    let socket = std::net::UdpSocket::bind((bind, 0))?;
    socket.connect(remote)?;
    Ok(socket.local_addr()?.ip())
}
