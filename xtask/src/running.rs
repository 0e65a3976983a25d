//! A running Envoy that is asked one question.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{fs, thread};

use anyhow::{Context as _, bail};

use crate::root;

const BOOTSTRAP: &str = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}";
/// The line that Envoy logs when its admin port answers.
const READY: &str = "starting main dispatch loop";

/// Starts Envoy on loopback, gets a path of its admin port, and stops it.
pub(crate) fn ask(envoy: &Path, path: &str) -> anyhow::Result<String> {
    let folder = root().join("target/tools");
    fs::create_dir_all(&folder)?;
    let address_file = folder.join(format!("admin-address-{}", std::process::id()));
    let mut child = Command::new(envoy)
        .args(["--config-yaml", BOOTSTRAP, "--use-dynamic-base-id", "--concurrency", "1", "--log-level", "info"])
        .arg("--admin-address-path")
        .arg(&address_file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", envoy.display()))?;
    let answer = ready(&mut child).and_then(|()| get(fs::read_to_string(&address_file)?.trim(), path));
    child.kill()?;
    child.wait()?;
    if address_file.exists() {
        fs::remove_file(address_file)?;
    }
    answer
}

fn ready(child: &mut Child) -> anyhow::Result<()> {
    let log = child.stderr.take().context("Envoy has no log")?;
    let mut log = BufReader::new(log);
    let mut seen = String::new();
    loop {
        let start = seen.len();
        if log.read_line(&mut seen)? == 0 {
            bail!("Envoy did not start:\n{seen}");
        }
        if seen[start..].contains(READY) {
            // A full pipe would block Envoy.
            thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
            return Ok(());
        }
    }
}

fn get(address: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("cannot reach Envoy at {address}"))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").context("Envoy's answer has no body")?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!("Envoy answers {path} with: {head}");
    }
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    if is_chunked { unchunk(body) } else { Ok(body.to_owned()) }
}

fn unchunk(mut body: &str) -> anyhow::Result<String> {
    let mut out = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").context("a chunk without a size")?;
        let size = usize::from_str_radix(size.trim(), 16).context("a chunk without a size")?;
        if size == 0 {
            return Ok(out);
        }
        out.push_str(rest.get(..size).context("a chunk that is cut off")?);
        body = rest.get(size + 2..).context("a chunk that is cut off")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_joined() {
        assert_eq!(unchunk("3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n").unwrap(), "abc0123456789");
        assert!(unchunk("5\r\nab").is_err());
    }
}
