//! What runs inside the machine.
//!
//! Owns the programs, which are static since nothing else is there, and the script that runs them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{cpio::Archive, kernel::Kernel, qemu};
use crate::{
    build,
    context::{Context, output, show, step, which},
    dist,
};

/// What has been built for the machine.
pub(crate) struct Programs {
    object: PathBuf,
    netpath: PathBuf,
    tests: PathBuf,
    corpus: PathBuf,
}

/// Where the captures of the program tests are inside the machine.
const CORPUS: &str = "corpus";

/// Builds netpath and the program tests for the musl target.
pub(crate) fn build_programs(context: &Context) -> Result<Programs> {
    let object = build::object(context)?;
    let target = dist::musl_target()?;
    step("vm: building netpath and the program tests, statically linked");
    let cargo = |words: &[&str]| {
        let mut cargo = context.cargo();
        cargo
            .args(words)
            .args([
                "--target",
                &target,
                "--message-format=json-render-diagnostics",
            ])
            // Quick enough without a processor of its own, and small enough for memory.
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_PROFILE_DEV_STRIP", "symbols");
        cargo
    };
    let netpath = executable(cargo(&["build", "--package=netpath", "--bin=netpath"]))?;
    let tests = executable(cargo(&[
        "test",
        "--no-run",
        "--package=netpath-tests",
        "--test=prog",
    ]))?;
    Ok(Programs {
        object,
        netpath,
        tests,
        corpus: context.workspace.join("tests/corpus"),
    })
}

/// Runs cargo and finds in its messages which program it has made.
fn executable(mut cargo: Command) -> Result<PathBuf> {
    let name = show(&cargo);
    let made = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run `{name}`"))?;
    if !made.status.success() {
        bail!("`{name}` failed ({})", made.status);
    }
    let messages = String::from_utf8_lossy(&made.stdout);
    messages
        .lines()
        .filter_map(|line| line.split_once(r#""executable":""#)?.1.split('"').next())
        .next_back()
        .map(PathBuf::from)
        .with_context(|| format!("`{name}` has made no program"))
}

/// Writes the first file system.
pub(crate) fn write(
    image: &Path,
    kernel: &Kernel,
    programs: &Programs,
    filter: Option<&str>,
) -> Result<()> {
    let busybox = which("busybox").context("busybox is not installed")?;
    let mut archive = Archive::default();
    for directory in ["dev", "proc", "run", "sys", "tmp", "var/lib"] {
        archive.directory(directory);
    }
    let mut modules = String::new();
    for (position, (name, content)) in kernel.modules.iter().enumerate() {
        let path = format!("modules/{position:02}-{name}.ko");
        archive.file(&path, content);
        modules.push_str(&format!("insmod /{path} || echo 'cannot load {name}'\n"));
    }
    for (path, program) in [
        ("bin/busybox", &busybox),
        ("bin/netpath", &programs.netpath),
        ("bin/prog", &programs.tests),
        ("netpath-ebpf.o", &programs.object),
    ] {
        archive.file(path, &read(program)?);
    }
    // The tests build their namespaces with it, and busybox's can too little.
    let ip = which("ip").context("ip (Debian: iproute2) is not installed")?;
    archive.file("sbin/ip", &read(&ip)?);
    for library in libraries(&ip)? {
        archive.file(library.trim_start_matches('/'), &read(Path::new(&library))?);
    }
    let directory = &programs.corpus;
    let failed = || format!("cannot read {}", directory.display());
    for entry in fs::read_dir(directory).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("{CORPUS}/{name}"), &read(&path)?);
    }
    archive.file("init", init(&modules, filter).as_bytes());
    fs::write(image, archive.finish()).with_context(|| format!("cannot write {}", image.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The paths of the libraries that a program of this machine is linked with.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let list = output(Command::new("ldd").arg(program))?;
    let paths = list.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(str::to_owned).collect())
}

/// The first process: it mounts, loads, runs, reports and switches off.
fn init(modules: &str, filter: Option<&str>) -> String {
    let filter = filter.map(|filter| filter.replace('\'', ""));
    format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/sbin:/bin HOME=/tmp NETPATH_BIN=/bin/netpath \
         NETPATH_EBPF_OBJECT_PATH=/netpath-ebpf.o NETPATH_CORPUS=/{CORPUS} \
         RUST_BACKTRACE=0\n\
         mount -t proc proc /proc\n\
         mount -t sysfs sys /sys\n\
         mount -t devtmpfs dev /dev\n\
         mount -t tmpfs run /run\n\
         mount -t tmpfs tmp /tmp\n\
         mount -t bpf bpf /sys/fs/bpf\n\
         mount -t cgroup2 cgroup /sys/fs/cgroup\n\
         {modules}\
         ip link set lo up\n\
         exec </dev/null\n\
         uname -r\n\
         prog '{}'; prog=$?\n\
         netpath lab --once; lab=$?\n\
         echo \"{}prog=$prog lab=$lab\"\n\
         poweroff -f\n",
        filter.as_deref().unwrap_or_default(),
        qemu::MARK,
    )
}
