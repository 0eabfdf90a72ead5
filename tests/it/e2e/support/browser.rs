//! A real browser (Chromium), behind a resolver of the test's own: it looks names up through a SOCKS
//! proxy, which leads each name where the test says. Nothing of it leaves this machine.
//!
//! Where it can't be had, `RETHREAD_TEST_CHROMIUM=missing` leaves out the tests that need it.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::beside;
use super::devtools::DevTools;

/// Starts a program with the pipes of [`DevTools`] as its file descriptors 3 and 4.
const WITH_PIPES: &str = r#"folder=$1; shift; exec "$@" 3<"$folder/commands" 4>"$folder/answers""#;

/// Without a screen, a network, or anything of its own to do.
const FLAGS: [&str; 14] = [
    "--headless",
    "--remote-debugging-pipe",
    // The tests may run as root, for whom its sandbox does not work; it sees the tests' pages alone.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--metrics-recording-only",
    // A guard of this browser alone: the server must not need it.
    "--disable-features=LocalNetworkAccessChecks",
];

/// Where a name and a port lead; `None`: nowhere.
pub(crate) type Route = Arc<dyn Fn(&str, u16) -> Option<SocketAddr> + Send + Sync>;

/// A browser with one page open; ended when dropped.
#[derive(Debug)]
pub(crate) struct Browser {
    child: Child,
    folder: tempfile::TempDir,
    tools: DevTools,
}

impl Browser {
    /// The value of an expression in the page that is open; waits for a promise.
    pub(crate) async fn evaluate(&mut self, expression: &str) -> Value {
        self.tools.evaluate(expression).await
    }

    /// Opens a page; `None` if it was said that there is no browser.
    pub(crate) async fn open(url: &str, route: Route) -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "tests have no configuration layer")]
        if std::env::var("RETHREAD_TEST_CHROMIUM").is_ok_and(|value| value == "missing") {
            println!("LEFT OUT: there is no Chromium here, so no real browser attacks the server");
            return None;
        }
        let proxy = resolver(route).await;
        let folder = tempfile::tempdir().unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let tools = DevTools::new(folder.path());
        let mut command = Command::new("sh");
        command.args(["-c", WITH_PIPES, "sh"]).arg(folder.path()).arg(binary());
        command.args(FLAGS).arg(format!("--proxy-server=socks5://{proxy}"));
        command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        command.arg(url).env("HOME", folder.path()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Some(Self { child: command.spawn().unwrap(), folder, tools })
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        // It has processes of its own; one that is gone already is no fault.
        let ended = killpg(group, Signal::SIGKILL).is_ok() && self.child.wait().is_ok();
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            println!("--- log of the browser (ended: {ended}) ---\n{log}");
        }
    }
}

fn binary() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "tests have no configuration layer")]
    let path = std::env::var("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut found = std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .filter(|file| file.is_file());
    found.next().expect(
        "this test needs Chromium: install it (apt-get install chromium), or set \
         RETHREAD_TEST_CHROMIUM=missing to leave the test out",
    )
}

/// A SOCKS proxy (RFC 1928), as far as a browser needs one; gives its address.
async fn resolver(route: Route) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    beside(async move {
        while let Ok((client, _)) = listener.accept().await {
            beside(relay(client, Arc::clone(&route)));
        }
    });
    address
}

async fn relay(mut client: TcpStream, route: Route) -> std::io::Result<()> {
    const NAME: u8 = 3;
    let [_, methods] = read::<2>(&mut client).await?;
    client.read_exact(&mut vec![0; methods.into()]).await?;
    client.write_all(&[5, 0]).await?;
    let [_, _, _, kind] = read::<4>(&mut client).await?;
    let mut name = Vec::new();
    if kind == NAME {
        let [length] = read::<1>(&mut client).await?;
        name.resize(length.into(), 0);
        client.read_exact(&mut name).await?;
    } else {
        client.read_exact(&mut [0; 4]).await?;
    }
    let port = u16::from_be_bytes(read::<2>(&mut client).await?);
    let Some(address) = route(&String::from_utf8_lossy(&name), port) else {
        return client.write_all(&[5, 4, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    };
    let mut server = TcpStream::connect(address).await?;
    client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

async fn read<const N: usize>(stream: &mut TcpStream) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}
