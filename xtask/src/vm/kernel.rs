//! A Debian kernel: the package, the image in it, and the modules that netpath needs.
//!
//! Owns the choice of the package and the order in which modules are loaded. A package that lies in
//! the directory already is used as it is.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::Series;
use crate::{
    context::{output, run, step},
    ebpf::elf,
    setup,
};

/// A kernel that is ready to boot.
pub(crate) struct Kernel {
    /// As `uname -r` says it.
    pub(crate) release: String,
    /// What QEMU starts.
    pub(crate) image: PathBuf,
    /// Modules in an order in which each finds what it needs, with their content.
    pub(crate) modules: Vec<(String, Vec<u8>)>,
}

/// What netpath and its tests use and Debian builds as modules.
const MODULES: [&str; 19] = [
    "veth",
    "bridge",
    "dummy",
    "8021q",
    "macvlan",
    "ipvlan",
    "tun",
    "wireguard",
    "ipip",
    "sit",
    "ip_gre",
    "ip6_tunnel",
    "ip6_gre",
    "sctp",
    "sch_ingress",
    "cls_bpf",
    "inet_diag",
    "tcp_diag",
    "udp_diag",
];

/// Downloads and unpacks the newest kernel of the series, unless that was done before.
pub(crate) fn prepare(directory: &Path, series: Series) -> Result<Kernel> {
    let package = match package_in(directory)? {
        Some(package) => package,
        None => download(directory, series)?,
    };
    let tree = directory.join("kernel");
    if !tree.is_dir() {
        // Under another name until complete, so that an interruption leaves no half of it.
        let partial = directory.join("kernel.partial");
        run(Command::new("dpkg-deb")
            .arg("--extract")
            .arg(&package)
            .arg(&partial))?;
        fs::rename(&partial, &tree)
            .with_context(|| format!("cannot rename {}", partial.display()))?;
    }
    let image = list(&tree.join("boot"))?
        .into_iter()
        .find(|path| file_name(path).starts_with("vmlinuz-"))
        .with_context(|| format!("{} contains no kernel image", package.display()))?;
    let release = file_name(&image).trim_start_matches("vmlinuz-").to_owned();
    let modules = modules(&tree, &release)?;
    Ok(Kernel {
        release,
        image,
        modules,
    })
}

fn package_in(directory: &Path) -> Result<Option<PathBuf>> {
    let is_package = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "deb");
    Ok(list(directory)?.into_iter().find(is_package))
}

/// Has apt download the newest package of the series.
fn download(directory: &Path, series: Series) -> Result<PathBuf> {
    let mut name = newest(series)?;
    if name.is_none() {
        setup::update_packages()?;
        name = newest(series)?;
    }
    let Some(name) = name else {
        bail!(
            "apt knows no package linux-image-{0}.*-cloud-amd64: add the Debian release that has \
             Linux {0}, or put such a package into {1}",
            series.as_str(),
            directory.display()
        );
    };
    step(&format!("vm: downloading {name}"));
    run(Command::new("apt-get")
        .args(["-q", "download", &name])
        .current_dir(directory)
        .stdin(Stdio::null()))?;
    package_in(directory)?
        .with_context(|| format!("apt-get has put no package into {}", directory.display()))
}

/// The newest package of the series that apt knows.
fn newest(series: Series) -> Result<Option<String>> {
    let pattern = format!(
        r"^linux-image-{}\..*-cloud-amd64$",
        series.as_str().replace('.', r"\.")
    );
    let found = output(Command::new("apt-cache").args(["search", "--names-only", &pattern]))
        .context("kernels come from Debian's packages")?;
    let names = found
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    Ok(names.max_by_key(|name| numbers(name)).map(str::to_owned))
}

/// The numbers in a name, by which versions are compared.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// Reads the wanted modules and all that they depend on. What is no module is built in.
fn modules(tree: &Path, release: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let mut paths = HashMap::new();
    let libraries = [tree.join("lib/modules"), tree.join("usr/lib/modules")];
    for library in libraries.iter().map(|library| library.join(release)) {
        if library.is_dir() {
            collect(&library, &mut paths)?;
        }
    }
    if paths.is_empty() {
        bail!("no modules of Linux {release} in {}", tree.display());
    }
    let mut loaded = Vec::new();
    for name in MODULES {
        add(name, &paths, &mut loaded)?;
    }
    Ok(loaded)
}

/// Adds a module after those that it names in its own description.
fn add(
    name: &str,
    paths: &HashMap<String, PathBuf>,
    loaded: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let name = name.replace('-', "_");
    let Some(path) = paths.get(&name) else {
        return Ok(());
    };
    if loaded.iter().any(|(other, _)| *other == name) {
        return Ok(());
    }
    let module = read(path)?;
    let depends: Vec<_> = elf::strings(&module, ".modinfo")
        .filter_map(|field| field.strip_prefix(b"depends="))
        .flat_map(|names| {
            String::from_utf8_lossy(names)
                .split(',')
                .map(String::from)
                .collect::<Vec<_>>()
        })
        .filter(|name| !name.is_empty())
        .collect();
    for depended in depends {
        add(&depended, paths, loaded)?;
    }
    loaded.push((name, module));
    Ok(())
}

/// A module's content, unpacked.
fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let unpacked = Command::new("xz")
        .args(["--decompress", "--stdout"])
        .arg(path)
        .output()
        .context("cannot run xz")?;
    if !unpacked.status.success() {
        bail!("xz cannot unpack {}: {}", path.display(), unpacked.status);
    }
    Ok(unpacked.stdout)
}

/// Finds every module below a directory, by the name that the kernel gives it.
fn collect(directory: &Path, paths: &mut HashMap<String, PathBuf>) -> Result<()> {
    for path in list(directory)? {
        if path.is_dir() {
            collect(&path, paths)?;
        } else if let Some((name, "" | ".xz")) = file_name(&path).split_once(".ko") {
            paths.insert(name.replace('-', "_"), path);
        }
    }
    Ok(())
}

fn list(directory: &Path) -> Result<Vec<PathBuf>> {
    let read = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    read().with_context(|| format!("cannot list {}", directory.display()))
}

fn file_name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_the_greatest_number() {
        let old = "linux-image-6.12.99+deb12-cloud-amd64";
        let new = "linux-image-6.12.117+deb12-cloud-amd64";
        assert!(numbers(new) > numbers(old));
    }
}
