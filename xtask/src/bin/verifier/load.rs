//! Loading the programs of an object, twice.
//!
//! Owns the calls of bpf(2). aya loads each program first, as netpath does, which makes the maps
//! and the type information; since aya keeps the verifier's log only of failures, each program is
//! then loaded again with the same maps, for its log.

use std::{
    collections::{HashMap, HashSet},
    ffi::c_int,
    io,
    os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
};

use anyhow::{Context as _, Result, bail};
use aya::{
    Ebpf, VerifierLogLevel,
    maps::{MapFd, MapInfo},
    programs::{Program, ProgramInfo},
};
use aya_obj::{
    Function, Object, ProgramSection,
    generated::{bpf_attr, bpf_cmd, bpf_prog_type},
};

use crate::{chain, verdict::Verdict};

/// Kernels cut the names of maps to this many characters.
const LONGEST_NAME: usize = 15;

/// The verifier's closing lines are far shorter.
const LOG_SIZE: usize = 64 * 1024;

/// Loads every program and asks the verifier about it, in the order of their names.
pub(crate) fn programs(bytes: &[u8]) -> Result<Vec<Verdict>> {
    let mut ebpf = Ebpf::load(bytes).context("cannot create the object's maps")?;
    let mut infos = HashMap::new();
    for (name, program) in ebpf.programs_mut() {
        infos.insert(name.to_owned(), load(name, program)?);
    }
    let maps = maps(infos.values())?;
    let btf = infos
        .values()
        .find_map(ProgramInfo::btf_id)
        .map(btf_by_id)
        .transpose()?;

    let object = relocated(bytes, &maps)?;
    let mut verdicts = Vec::new();
    for (name, program) in &object.programs {
        let function = object
            .functions
            .get(&program.function_key())
            .with_context(|| format!("{name}: the object has no such function"))?;
        let (kind, attach) = kernel_type(name, &program.section)?;
        let license = program.license.as_c_str();
        let log = log(kind, attach, license, function, btf.as_ref())
            .with_context(|| format!("{name}: cannot load it a second time"))?;
        let mut verdict = Verdict::parse(name, &log)
            .with_context(|| format!("{name}: the verifier's log has no closing lines: {log}"))?;
        verdict.chain = chain::deepest(&function.instructions);
        if let Some(info) = infos.get(name) {
            verdict.translated = info.size_translated().unwrap_or_default();
            verdict.jited = info.size_jitted();
        }
        verdicts.push(verdict);
    }
    verdicts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(verdicts)
}

/// Loads a program as netpath does.
fn load(name: &str, program: &mut Program) -> Result<ProgramInfo> {
    let loaded = if let Program::SchedClassifier(program) = program {
        program.load()
    } else if let Program::CgroupSockAddr(program) = program {
        program.load()
    } else if let Program::Xdp(program) = program {
        program.load()
    } else {
        bail!(
            "{name}: programs of the type {:?} are not expected",
            program.prog_type()
        )
    };
    loaded.with_context(|| format!("{name}: the kernel refuses it"))?;
    program
        .info()
        .with_context(|| format!("{name}: the kernel does not describe it"))
}

/// The maps that the programs use, by their names in the kernel.
fn maps<'a>(programs: impl Iterator<Item = &'a ProgramInfo>) -> Result<HashMap<String, MapFd>> {
    let mut maps = HashMap::new();
    for program in programs {
        let ids = program
            .map_ids()?
            .context("this kernel does not list a program's maps")?;
        for id in ids {
            let info = MapInfo::from_id(id)?;
            let name = info.name_as_str().unwrap_or_default().to_owned();
            maps.insert(name, info.fd()?);
        }
    }
    Ok(maps)
}

/// The object's programs, referring to these maps.
fn relocated(bytes: &[u8], fds: &HashMap<String, MapFd>) -> Result<Object> {
    let mut object = Object::parse(bytes)?;
    if object.has_btf_relocations() {
        object.relocate_btf(&aya::Btf::from_sys_fs()?)?;
    }
    let maps: Vec<_> = object.maps.drain().collect();
    let used: Vec<_> = maps
        .iter()
        .filter_map(|(name, map)| {
            let fd = fds.get(name.get(..LONGEST_NAME).unwrap_or(name))?;
            Some((name.as_str(), fd.as_fd().as_raw_fd(), map))
        })
        .collect::<Vec<(&str, RawFd, _)>>();
    let text: HashSet<_> = object
        .functions
        .keys()
        .map(|(section, _)| *section)
        .collect();
    object.relocate_maps(used.into_iter(), &text)?;
    object.relocate_calls(&text)?;
    Ok(object)
}

/// The numbers by which the kernel knows a program's type and its attachment.
fn kernel_type(name: &str, section: &ProgramSection) -> Result<(bpf_prog_type, u32)> {
    if let ProgramSection::CgroupSockAddr { attach_type } = section {
        let attach: aya_obj::generated::bpf_attach_type = (*attach_type).into();
        Ok((bpf_prog_type::BPF_PROG_TYPE_CGROUP_SOCK_ADDR, attach as u32))
    } else if let ProgramSection::SchedClassifier = section {
        Ok((bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS, 0))
    } else if let ProgramSection::Xdp { attach_type, .. } = section {
        let attach: aya_obj::generated::bpf_attach_type = (*attach_type).into();
        Ok((bpf_prog_type::BPF_PROG_TYPE_XDP, attach as u32))
    } else {
        bail!("{name}: programs in the section {section:?} are not expected")
    }
}

/// Loads a program and returns the verifier's log.
fn log(
    kind: bpf_prog_type,
    attach: u32,
    license: &std::ffi::CStr,
    function: &Function,
    btf: Option<&OwnedFd>,
) -> Result<String> {
    let mut log = vec![0_u8; LOG_SIZE];
    let func_info = function.func_info.func_info_bytes();
    // SAFETY: every field of the union is integers, for which zero is a value.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    // SAFETY: the field that BPF_PROG_LOAD reads, zeroed like the whole.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = kind as u32;
    load.expected_attach_type = attach;
    load.insns = function.instructions.as_ptr() as u64;
    load.insn_cnt = u32::try_from(function.instructions.len())?;
    load.license = license.as_ptr() as u64;
    load.log_level = VerifierLogLevel::STATS.bits();
    load.log_buf = log.as_mut_ptr() as u64;
    load.log_size = u32::try_from(log.len())?;
    if let Some(btf) = btf {
        load.prog_btf_fd = u32::try_from(btf.as_raw_fd())?;
        load.func_info = func_info.as_ptr() as u64;
        // Not `num_info`: that counts the whole section where the program calls no subprogram.
        load.func_info_cnt = u32::try_from(function.func_info.len())?;
        load.func_info_rec_size = u32::try_from(function.func_info_rec_size)?;
    }
    let loaded = bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr);
    let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
    log.truncate(end);
    let log = String::from_utf8_lossy(&log).into_owned();
    match loaded {
        Ok(_) => Ok(log),
        Err(error) => Err(error).context(log),
    }
}

/// The type information that the kernel has under this number.
fn btf_by_id(id: u32) -> Result<OwnedFd> {
    // SAFETY: every field of the union is integers, for which zero is a value.
    let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
    attr.__bindgen_anon_6.__bindgen_anon_1.btf_id = id;
    bpf(bpf_cmd::BPF_BTF_GET_FD_BY_ID, &mut attr)
        .with_context(|| format!("the kernel does not hand out BTF {id}"))
}

/// bpf(2), for the commands that return a file descriptor.
fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    let size = std::mem::size_of::<bpf_attr>();
    // SAFETY: the attributes are initialised in full, and what they point to is alive in the
    // callers.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as c_int, attr, size) };
    match c_int::try_from(result) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
