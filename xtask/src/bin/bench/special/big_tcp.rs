//! Bulk TCP with segments of 64 KB and with larger ones (`gso_max_size`).
//!
//! Owns the measures `big_tcp_bridge` (container to container) and `big_tcp_in` (published port, by
//! an uplink that takes them too), and their stream: it hands the kernel more at once than the
//! largest segment, or none would ever be that large.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use netpath::{
    lab::Namespace,
    net::{Error, SegmentSizes, namespace},
};

use super::{
    Setup,
    bridge::{Pair, pair},
    talk::{spent, value},
    turns::Turns,
};
use crate::{
    instance::{CONNTRACK, config},
    results::Results,
    variant::{BRIDGE, CONTAINER, CONTAINER_PORT, UPLINK, Variant},
    worker::Worker,
};

/// The larger size, in bytes: what other implementations have chosen.
const LARGER: u32 = 196_608;
/// What the sender hands to the kernel at once.
const CHUNK: usize = 1 << 20;
/// A kilobyte: the operation.
const UNIT: u64 = 1000;
/// The byte that ends a slice.
const STOP: u8 = 1;
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn run(setup: Setup<'_>, results: &mut Results) -> Result<()> {
    let pairs = [
        ("64k", pair(setup, Variant::Netpath, 1)?),
        ("192k", pair(setup, Variant::Netpath, 2)?),
        ("64k-again", pair(setup, Variant::Netpath, 3)?),
    ];
    let [_, (_, larger), _] = &pairs;
    enlarge(setup, larger)?;
    for measure in ["big_tcp_bridge", "big_tcp_in"] {
        let mut turns = Turns::rate(measure, "kB/s");
        for (variant, pair) in &pairs {
            let (client, target) = if measure == "big_tcp_bridge" {
                (
                    &pair.neighbour,
                    SocketAddr::new(CONTAINER.into(), CONTAINER_PORT),
                )
            } else {
                (&pair.site.outside, pair.site.published())
            };
            let server = &pair.site.container;
            let (to, from) =
                open(client, server, target).with_context(|| format!("{measure}: {variant}"))?;
            turns.add(variant, move || {
                let ((bytes, elapsed), cpu) = spent(setup.cpu, || {
                    let (to, from) = (to.clone(), from.clone());
                    let span = setup.pace.slice;
                    let drained = server.begin(move || drain(&from));
                    let poured = client.begin(move || pour(&to, span));
                    let (poured, (bytes, end)) = (poured.wait()??, drained.wait()??);
                    let (sent, start) = poured;
                    ensure!(sent == bytes, "{sent} bytes were sent, {bytes} arrived");
                    Ok((bytes, end.duration_since(start)))
                })?;
                Ok(value(bytes / UNIT, elapsed, cpu))
            });
        }
        results
            .series
            .extend(turns.take(setup.pace.rounds, setup.progress)?);
    }
    Ok(())
}

/// Runs `netpath up` once more, with larger segments, and gives the uplink what it needs to take them.
fn enlarge(setup: Setup<'_>, pair: &Pair) -> Result<()> {
    let site = &pair.site;
    let instance = site.instance.as_ref().context("netpath is not up")?;
    let text = config(site.container_ns.name(), site.ports, site.family, CONNTRACK);
    let line = format!("bridge = \"{BRIDGE}\"\n");
    let larger = text.replace(&line, &format!("{line}gso_max_size = {LARGER}\n"));
    ensure!(text != larger, "the configuration names no bridge {BRIDGE}");
    let file = setup.workdir.directory("big_tcp")?.join("netpath.toml");
    fs::write(&file, larger).with_context(|| format!("cannot write {}", file.display()))?;
    let file = file.to_string_lossy();
    instance.run(&site.router_ns, &["up", "-c", &file, "--yes"])?;
    take_larger(&site.router_ns, UPLINK)?;
    take_larger(&site.outside_ns, "eth0")
}

fn take_larger(of: &Namespace, interface: &str) -> Result<()> {
    let reference = of.name().parse().map_err(anyhow::Error::msg)?;
    let netns = namespace::Namespace::open(&reference)?;
    let set = netns.run(async |netlink| {
        let Some(link) = netlink.link(interface).await? else {
            return Ok(false);
        };
        let sizes = SegmentSizes::all(LARGER);
        netlink.set_segments(link.index, sizes).await?;
        Ok::<_, Error>(true)
    })?;
    ensure!(set, "there is no {interface} in {}", of.name());
    Ok(())
}

/// Connects both sides.
fn open(
    client: &Worker,
    server: &Worker,
    target: SocketAddr,
) -> Result<(Arc<TcpStream>, Arc<TcpStream>)> {
    let listener = server.call(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, CONTAINER_PORT)))?;
    let listener = listener.context("cannot listen")?;
    // The kernel completes the handshake without the server's thread.
    let stream = client.call(move || TcpStream::connect_timeout(&target, PATIENCE))?;
    let stream = stream.with_context(|| format!("cannot connect to {target}"))?;
    let (accepted, _) = server.call(move || listener.accept())??;
    for stream in [&stream, &accepted] {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
    }
    Ok((Arc::new(stream), Arc::new(accepted)))
}

/// A stream, until the time is over. Its last byte ends the slice.
fn pour(mut stream: &TcpStream, span: Duration) -> io::Result<(u64, Instant)> {
    let mut chunk = vec![0; CHUNK];
    let start = Instant::now();
    let mut bytes = 0;
    loop {
        let over = start.elapsed() >= span;
        if let (true, Some(last)) = (over, chunk.last_mut()) {
            *last = STOP;
        }
        stream.write_all(&chunk)?;
        bytes += CHUNK as u64;
        if over {
            return Ok((bytes, start));
        }
    }
}

/// Takes a stream in, to the byte that ends it.
fn drain(mut stream: &TcpStream) -> io::Result<(u64, Instant)> {
    let mut buffer = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let read = stream.read(&mut buffer)?;
        bytes += read as u64;
        match buffer.get(..read).and_then(<[u8]>::last) {
            Some(&STOP) => return Ok((bytes, Instant::now())),
            Some(_) => {}
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
