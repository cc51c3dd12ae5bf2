//! `vm`: tests and the lab on a Debian kernel under QEMU.
//!
//! Owns the order of things and the tools. The kernel's package is `kernel`'s, what runs inside is
//! `initramfs`'s and `suite`'s, and the machine itself with the judgement `qemu`'s. Nothing of the user's machine is touched
//! beyond installing packages, and nothing inside the machine needs more than the kernel.

mod cpio;
mod initramfs;
mod kernel;
mod qemu;
mod suite;

use std::{fs, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    context::{Context, step, which},
    setup,
};

/// Which kernel to boot, and how.
#[derive(Args)]
pub(crate) struct Options {
    /// The kernel's series.
    #[arg(value_enum)]
    series: Series,
    /// Only tests whose name contains this, of all namespace tests too; the lab is left out then.
    filter: Option<String>,
    /// Seconds after which the machine is switched off and the run has failed.
    #[arg(long, default_value_t = 3600)]
    timeout: u64,
    /// Use the processor's virtualisation, which not every machine that has /dev/kvm offers in full.
    #[arg(long)]
    kvm: bool,
}

/// A series of kernels that Debian has packages of.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Series {
    /// Debian 12's; the oldest supported; without tcx, so that clsact is used.
    #[value(name = "6.1")]
    V6_1,
    /// Debian 13's.
    #[value(name = "6.12")]
    V6_12,
}

impl Series {
    /// As it is written in packages' names.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }
}

/// Builds what runs inside, boots the machine and reads the verdict from its console.
pub(crate) fn vm(context: &Context, options: &Options) -> Result<ExitCode> {
    if std::env::consts::ARCH != "x86_64" {
        bail!("the machine is an x86-64 one, and what runs inside is built for this one");
    }
    tools()?;
    let directory = context.target_dir.join("vm").join(options.series.as_str());
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let kernel = kernel::prepare(&directory, options.series)?;
    let programs = initramfs::build_programs(context)?;
    let image = directory.join("initramfs");
    initramfs::write(&image, &kernel, &programs, options)?;

    step(&format!("vm: booting Linux {}", kernel.release));
    let limit = Duration::from_secs(options.timeout);
    let verdict = qemu::boot(&kernel.image, &image, options.kvm, limit)?;
    println!("Linux {}: {verdict}", kernel.release);
    Ok(if verdict.good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The programs of this machine that go into that one, with their libraries: what the tests build their
/// namespaces with, and the shell.
const SYSTEM: [&str; 3] = ["busybox", "ethtool", "ip"];

/// Installs the programs that make and run the machine.
fn tools() -> Result<()> {
    const TOOLS: [(&str, &str); 6] = [
        ("qemu-system-x86_64", "qemu-system-x86"),
        ("busybox", "busybox"),
        ("ethtool", "ethtool"),
        ("ip", "iproute2"),
        ("dpkg-deb", "dpkg"),
        ("xz", "xz-utils"),
    ];
    let missing: Vec<_> = TOOLS
        .into_iter()
        .filter(|(program, _)| which(program).is_none())
        .map(|(_, package)| package)
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        setup::install_packages(&missing)
    }
}
