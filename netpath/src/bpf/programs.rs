//! The programs of the object: which of them are loaded, and how.
//!
//! Owns the calls of the verifier, several at a time. Where they are pinned is `load`'s.

use std::{
    panic::resume_unwind,
    sync::{Mutex, PoisonError},
    thread,
};

use aya::{
    Ebpf,
    programs::{Program, ProgramError},
};

use super::Error;

/// Tries again where the verifier gave up for a pending signal: it answers EAGAIN then, and a load
/// takes long enough to meet one (`do_check` in `kernel/bpf/verifier.c`; libbpf tries five times, which
/// a busy machine has exceeded).
fn patiently(mut load: impl FnMut() -> Result<(), ProgramError>) -> Result<(), ProgramError> {
    const TRIES: u32 = 100;
    let mut tried = 1;
    loop {
        match load() {
            Err(ProgramError::LoadError { io_error, .. })
                if tried < TRIES && io_error.raw_os_error() == Some(libc::EAGAIN) =>
            {
                tried += 1;
                // Whatever the kernel wants of this thread it gets on its way back.
                thread::yield_now();
            }
            done => return done,
        }
    }
}

/// How the names of programs begin that are in the object only to be timed.
const TIMED_ONLY: &str = "np_time_";

/// Loads the programs that are wanted of those that are to be attached or run; several at a time, for the
/// verifier is where nearly all of the time goes. Returns them in the order of their names.
pub(super) fn load_programs(
    ebpf: &mut Ebpf,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<(String, &mut Program)>, Error> {
    let mut programs: Vec<_> = ebpf
        .programs_mut()
        .filter(|(name, _)| !name.starts_with(TIMED_ONLY) && wanted(name))
        .map(|(name, program)| (name.to_owned(), program))
        .collect();
    programs.sort_by(|a, b| a.0.cmp(&b.0));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    // The largest come last by name (`np_uplink_…`, `np_veth…`). They are begun first, so that in the end no
    // processor waits for another one's.
    let queue = Mutex::new(programs.iter_mut().rev());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || {
        while let Some((name, program)) = next() {
            load_program(name, program)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mine = work();
        others
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
            .fold(mine, Result::and)
    })?;
    Ok(programs)
}

fn load_program(name: &str, program: &mut Program) -> Result<(), Error> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "every other type of program is an error"
    )]
    let loaded = match program {
        Program::SchedClassifier(p) => patiently(|| p.load()),
        Program::CgroupSockAddr(p) => patiently(|| p.load()),
        Program::Xdp(p) => patiently(|| p.load()),
        other => {
            let what = format!("program {name} has the type {:?}", other.prog_type());
            return Err(Error::BadObject { what });
        }
    };
    loaded.map_err(|source| Error::Program {
        program: name.to_owned(),
        source: Box::new(source),
    })
}

/// Gives a program a name that keeps it.
pub(super) fn pin(program: &mut Program, path: &std::path::Path) -> Result<(), Error> {
    program.pin(path).map_err(|source| Error::Pin {
        path: path.to_owned(),
        source,
    })
}
