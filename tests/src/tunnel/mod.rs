//! Tunnels between the host and the outside of a [`World`]: devices without an Ethernet header.
//!
//! Owns making them, of whatever kind the kernel has, and of a tun device the line that takes its packets
//! from one namespace to the other.
//!
//! ```text
//! a ── host ── uplink0 198.51.100.1 ───────────────── 198.51.100.2 eth0 ── outside
//!              far0    203.0.113.1  2001:db8:7::1     203.0.113.2  2001:db8:7::2  far0
//! ```

mod site;
mod wireguard;

pub use site::{PUBLISHED, Site, servers, sockets_in, sockets_out};

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::{Ipv4Addr, Ipv6Addr},
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::OpenOptionsExt,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::{
    dual_stack::{HOST6, OUTSIDE6, set6},
    netns::{Namespace, command, within},
    skip,
    topology::{World, succeeded},
    ways::ip,
};

/// The tunnel's device, on both sides.
pub const TUNNEL: &str = "far0";
/// The host's end.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
/// The far end.
pub const FAR: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 2);
/// The host's end.
pub const NEAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 1);
/// The far end.
pub const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 7, 0, 0, 0, 0, 2);
/// Of the tunnel, as WireGuard has it.
pub const MTU: u32 = 1420;

/// A kind of tunnel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A tun device of a program of the test's, which leaves checksums and segments to whoever receives.
    Tun,
    /// The same, and the sender's stack does all of it.
    PlainTun,
    /// A kind of the kernel's, by the words of `ip link add` behind `type`, without the ends.
    Kernel(&'static str),
    /// WireGuard.
    WireGuard,
}

impl Kind {
    /// Whether packets of IPv4 fit in.
    #[must_use]
    pub const fn carries_ipv4(self) -> bool {
        true
    }

    /// Whether packets of IPv6 fit in.
    #[must_use]
    pub fn carries_ipv6(self) -> bool {
        self != Self::Kernel("ipip")
    }
}

/// A tunnel that is up. It has addresses and no route but that to its other end.
#[derive(Debug)]
pub struct Tunnel {
    /// What it is.
    pub kind: Kind,
    _line: Option<Line>,
}

impl Tunnel {
    /// Makes one; `None` where the kernel does not have the kind, and that is on record.
    ///
    /// # Panics
    /// When a step fails.
    #[must_use]
    pub fn new(world: &World, kind: Kind) -> Option<Self> {
        let line = match kind {
            Kind::Tun => Some(Line::new(&world.host, &world.outside, true)),
            Kind::PlainTun => Some(Line::new(&world.host, &world.outside, false)),
            Kind::Kernel(words) => {
                add(&world.host, words, Some(["1", "2"]))?;
                add(&world.outside, words, Some(["2", "1"]))?;
                None
            }
            Kind::WireGuard => {
                add(&world.host, "wireguard", None)?;
                add(&world.outside, "wireguard", None)?;
                wireguard::connect(&world.host, &world.outside);
                None
            }
        };
        for (namespace, own, own6) in [(&world.host, NEAR, NEAR6), (&world.outside, FAR, FAR6)] {
            ip(namespace, &format!("link set {TUNNEL} mtu {MTU} up"));
            if kind.carries_ipv4() {
                ip(namespace, &format!("addr add {own}/24 dev {TUNNEL}"));
            }
            if kind.carries_ipv6() {
                set6(namespace, TUNNEL, "accept_dad", "0");
                ip(namespace, &format!("addr add {own6}/64 dev {TUNNEL} nodad"));
            }
        }
        Some(Self { kind, _line: line })
    }

    /// Makes it the host's way out.
    ///
    /// # Panics
    /// When a step fails.
    pub fn take_default_route(&self, world: &World) {
        let mut routes = vec![format!("route replace default dev {TUNNEL} src {NEAR}")];
        if self.kind.carries_ipv6() {
            let metric = "metric 1024";
            routes.push(format!("-6 route replace default dev {TUNNEL} {metric}"));
        }
        for route in routes {
            ip(&world.host, &route);
        }
    }
}

/// Makes one end of a kernel's tunnel. `ends`: between the addresses 198.51.100.X, or those of IPv6, of the
/// underlay.
fn add(namespace: &Namespace, words: &str, ends: Option<[&str; 2]>) -> Option<()> {
    let address = |end: &str| match end {
        end if !words.starts_with("ip6") => format!("198.51.100.{end}"),
        "1" => HOST6.to_string(),
        _ => OUTSIDE6.to_string(),
    };
    let mut add = format!("link add {TUNNEL} type {words}");
    if let Some([own, other]) = ends {
        add += &format!(" local {} remote {}", address(own), address(other));
    }
    let output = command(namespace, "ip", &add.split(' ').collect::<Vec<_>>());
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("Unknown device type") || errors.contains("not supported") {
        skip::record(&format!("the kernel has no {words} devices"));
        return None;
    }
    succeeded(&add, output);
    Some(())
}

/// Two tun devices, and a thread that hands the packets of each to the other.
#[derive(Debug)]
struct Line {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Line {
    fn new(near: &Namespace, far: &Namespace, offloads: bool) -> Self {
        let ends = [near, far].map(|namespace| within(namespace, || tun(offloads)).unwrap());
        let stop = Arc::<AtomicBool>::default();
        let told = Arc::clone(&stop);
        Self {
            stop,
            thread: Some(thread::spawn(move || carry(&ends, &told))),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Makes a tun device in the namespace of the thread. With `offloads` every packet has a header that says
/// what is left to be done with it (`struct virtio_net_hdr`).
fn tun(offloads: bool) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/net/tun")?;
    // SAFETY: all fields of ifreq are integers and pointers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(TUNNEL.bytes()) {
        *to = from as _;
    }
    let vnet_hdr = if offloads { libc::IFF_VNET_HDR } else { 0 };
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI | vnet_hdr) as _;
    // SAFETY: the request is initialised and lives through the call.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) })?;
    if offloads {
        let all = libc::c_ulong::from(libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6);
        // SAFETY: the argument is a number.
        Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, all) })?;
    }
    Ok(file)
}

fn carry(ends: &[File; 2], stop: &AtomicBool) {
    let mut packet = vec![0; 70_000];
    let patience = PollTimeout::from(20u8);
    while !stop.load(Ordering::Relaxed) {
        let mut waiting = [0, 1].map(|end| PollFd::new(ends[end].as_fd(), PollFlags::POLLIN));
        let _ = poll(&mut waiting, patience);
        for (mut from, mut to) in [(&ends[0], &ends[1]), (&ends[1], &ends[0])] {
            while let Ok(length) = from.read(&mut packet) {
                // Refused while the other end is down: lost, as on any line.
                let _ = to.write(&packet[..length]);
            }
        }
    }
}
