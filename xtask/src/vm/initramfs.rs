//! What runs inside the machine.
//!
//! Owns the programs, the static ones and the system's with their libraries, and the script that runs
//! them. Which tests run is `suite`'s.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};

use super::{
    Options, SYSTEM,
    cpio::Archive,
    kernel::Kernel,
    qemu,
    suite::{SUITES, Suite},
};
use crate::{
    build,
    context::{Context, output, show, step, which},
    dist,
    ebpf::elf,
};

/// What has been built for the machine.
pub(crate) struct Programs {
    object: PathBuf,
    netpath: PathBuf,
    tests: Vec<(Suite, PathBuf)>,
    corpus: PathBuf,
}

/// Where the captures of the program tests are inside the machine.
const CORPUS: &str = "corpus";

/// Where tests note inside the machine that they have skipped themselves.
const SKIP_LOG: &str = "/tmp/skipped";

/// Builds netpath and the tests for the musl target.
pub(crate) fn build_programs(context: &Context) -> Result<Programs> {
    let object = build::object(context)?;
    let target = dist::musl_target()?;
    step("vm: building netpath and the tests, statically linked");
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
    let mut tests = Vec::new();
    for suite in SUITES {
        let target = format!("--test={}", suite.name);
        let test = ["test", "--no-run", "--package=netpath-tests", &target];
        tests.push((suite, executable(cargo(&test))?));
    }
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
    options: &Options,
) -> Result<()> {
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
    archive.file("bin/netpath", &read(&programs.netpath)?);
    archive.file("netpath-ebpf.o", &read(&programs.object)?);
    for (suite, program) in &programs.tests {
        archive.file(&format!("bin/{}", suite.name), &read(program)?);
    }
    let mut shared = BTreeSet::new();
    for tool in SYSTEM {
        let path = which(tool).with_context(|| format!("{tool} is not installed"))?;
        archive.file(&format!("sbin/{tool}"), &read(&path)?);
        shared.extend(libraries(&path)?);
    }
    for library in shared {
        archive.file(library.trim_start_matches('/'), &read(Path::new(&library))?);
    }
    let directory = &programs.corpus;
    let failed = || format!("cannot read {}", directory.display());
    for entry in fs::read_dir(directory).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        archive.file(&format!("{CORPUS}/{name}"), &read(&path)?);
    }
    archive.file("init", init(&modules, options).as_bytes());
    fs::write(image, archive.finish()).with_context(|| format!("cannot write {}", image.display()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The paths of the libraries that a program of this machine is linked with, and of the loader; none
/// for a static one, which ldd refuses.
fn libraries(program: &Path) -> Result<Vec<String>> {
    let bytes = read(program)?;
    if elf::section(&bytes, ".interp").is_none() {
        return Ok(Vec::new());
    }
    let list = output(Command::new("ldd").arg(program))?;
    let paths = list.split_whitespace().filter(|word| word.starts_with('/'));
    Ok(paths.map(str::to_owned).collect())
}

/// The first process: it mounts, loads, runs, reports and switches off.
fn init(modules: &str, options: &Options) -> String {
    let filter = options.filter.as_deref();
    let short = if options.kvm { "" } else { "NETPATH_SHORT=1" };
    let (mut runs, mut statuses) = (String::new(), String::new());
    let mut run = |name: &str, command: &str| {
        runs.push_str(&format!("{command}; {name}=$?\n"));
        statuses.push_str(&format!(" {name}=${name}"));
    };
    for suite in SUITES {
        run(suite.name, &suite.command(filter));
    }
    if filter.is_none() {
        run("lab", "netpath lab --once");
    }
    format!(
        "#!/sbin/busybox sh\n\
         /sbin/busybox --install -s /bin\n\
         export PATH=/sbin:/bin HOME=/tmp NETPATH_BIN=/bin/netpath \
         NETPATH_EBPF_OBJECT_PATH=/netpath-ebpf.o NETPATH_CORPUS=/{CORPUS} \
         NETPATH_SKIP_LOG={SKIP_LOG} RUST_BACKTRACE=0 {short}\n\
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
         touch {SKIP_LOG}\n\
         {runs}\
         sed 's/^/{}/' {SKIP_LOG}\n\
         echo \"{}{statuses}\"\n\
         poweroff -f\n",
        qemu::SKIPPED,
        qemu::MARK,
    )
}
