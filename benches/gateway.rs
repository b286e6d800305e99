//! The real gateway as a child process.

use std::fs;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::server::{DOMAIN, Link};
use crate::{Failure, machine};

/// The domain of the channels.
pub const MIX: &str = "mix.bench";

/// `offhook run`, connected to [`Link`]; ends when dropped.
pub struct Gateway {
    child: Child,
    folder: PathBuf,
    /// The XMPP server's end.
    pub link: Option<Link>,
    /// The XMPP server's end of the MIX service's link, if there is one.
    pub mix: Option<Link>,
    /// Where it takes SIP.
    pub sip: SocketAddr,
}

impl Gateway {
    /// Starts it toward a telephone network at `phone`.
    pub fn start(offhook: &Path, phone: SocketAddr) -> Result<Self, Failure> {
        Self::start_with(machine::on_last_processor(offhook), phone, None)
    }

    /// The same on all processors, with a media thread for each.
    pub fn start_everywhere(offhook: &Path, phone: SocketAddr) -> Result<Self, Failure> {
        Self::start_with(machine::on_all_processors(offhook), phone, None)
    }

    /// The same, with a MIX service.
    pub fn start_with_mix(offhook: &Path, phone: SocketAddr) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let program = machine::on_last_processor(offhook);
        Self::start_with(program, phone, Some(&listener))
    }

    fn start_with(
        mut program: Command,
        phone: SocketAddr,
        mix: Option<&TcpListener>,
    ) -> Result<Self, Failure> {
        let section = match mix {
            Some(mix) => format!(
                "[mix]\ndomain = \"{MIX}\"\nserver = \"{}\"\ncreate = [\"users.bench\"]\n",
                mix.local_addr()?
            ),
            None => String::new(),
        };
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let folder = std::env::temp_dir().join(format!("offhook-bench.{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let path = folder.join("offhook.toml");
        let sip = free_port()?;
        let config = format!(
            r#"
[xmpp]
server = "{}"
domain = "{DOMAIN}"
secret = "bench"
[sip]
listen = ["udp://{sip}"]
[media]
bind = "127.0.0.1"
xmpp_port = {}
rtp_ports = "10000-19999"
[[trunk]]
name = "phone"
uri = "sip:{phone};transport=udp"
options_s = 0
[[route]]
match = "*"
trunk = ["phone"]
[access]
allow = ["users.bench"]
max_calls_per_user = 100
calls_per_minute = 100
[call]
silence_limit_s = 600
connect_limit_s = 600
"#,
            listener.local_addr()?,
            free_port()?.port(),
        );
        fs::write(&path, config + &section)?;
        let log = fs::File::create(folder.join("log"))?;
        let child = program
            .args(["run", "--config"])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        let mut gateway = Self {
            child,
            folder,
            link: None,
            mix: None,
            sip,
        };
        gateway.link = Some(Link::accept(&listener)?);
        gateway.mix = mix.map(Link::accept).transpose()?;
        Ok(gateway)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        // taskset becomes the program that it starts.
        self.child.id()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// An address on loopback that nobody holds right now.
pub fn free_port() -> Result<SocketAddr, Failure> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?)
}
