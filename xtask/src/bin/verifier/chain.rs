//! The deepest chain of calls of a program, as Linux 6.1 counts its stack.
//!
//! Owns that count. `check_max_stack_depth` (`kernel/bpf/verifier.c`) rounds the frame of every
//! function up to 32 bytes, where newer kernels do so to 16: a program that they take may be
//! refused there, and only there. What the running kernel's verifier prints does not serve: it leaves
//! out functions that are never reached, which 6.1 counts.

use aya_obj::generated::bpf_insn;

/// What a frame is rounded up to, bytes; also the least one.
const ROUND: u64 = 32;

/// The register that points to the end of the frame.
const FRAME: u8 = 10;

/// `BPF_JMP | BPF_CALL`, with `BPF_PSEUDO_CALL` the call of a function.
const CALL: u8 = 0x85;
const PSEUDO_CALL: u8 = 1;
/// `BPF_LD | BPF_IMM | BPF_DW`, with `BPF_PSEUDO_FUNC` the address of a callback.
const LOAD: u8 = 0x18;
const PSEUDO_FUNC: u8 = 4;
/// `BPF_ALU64 | BPF_MOV | BPF_X` and `BPF_ALU64 | BPF_ADD | BPF_K`: how an address in a frame is made.
const MOVE: u8 = 0xbf;
const ADD: u8 = 0x07;
/// The classes `BPF_LDX`, `BPF_ST` and `BPF_STX`.
const ACCESS: [u8; 3] = [1, 2, 3];

/// A chain of calls.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Chain {
    /// Bytes of stack of all.
    pub(crate) stack: u64,
    /// Bytes of each function's frame, the first one's first.
    pub(crate) frames: Vec<u64>,
}

/// The deepest chain of calls that begins with the program.
pub(crate) fn deepest(program: &[bpf_insn]) -> Chain {
    let calls: Vec<_> = program
        .iter()
        .enumerate()
        .filter_map(|(at, insn)| Some((at, called(at, insn)?)))
        .collect();
    let mut starts: Vec<_> = calls.iter().map(|(_, to)| *to).chain([0]).collect();
    starts.sort_unstable();
    starts.dedup();
    let function = |at: usize| starts.partition_point(|start| *start <= at) - 1;
    let mut callees = vec![Vec::new(); starts.len()];
    for (at, to) in calls {
        callees[function(at)].push(function(to));
    }
    let ends = starts.iter().skip(1).copied().chain([program.len()]);
    let frames: Vec<_> = starts
        .iter()
        .zip(ends)
        .map(|(start, end)| frame(&program[*start..end]))
        .collect();
    // No function calls itself, or the kernel would not have taken the program.
    from(0, &frames, &callees, &mut vec![None; frames.len()])
}

fn from(
    function: usize,
    frames: &[u64],
    callees: &[Vec<usize>],
    known: &mut [Option<Chain>],
) -> Chain {
    if let Some(chain) = &known[function] {
        return chain.clone();
    }
    let mut chain = callees[function]
        .iter()
        .map(|callee| from(*callee, frames, callees, known))
        .max_by_key(|chain| chain.stack)
        .unwrap_or_default();
    chain.stack += frames[function].max(1).next_multiple_of(ROUND);
    chain.frames.insert(0, frames[function]);
    known[function] = Some(chain.clone());
    chain
}

/// Bytes of a function's frame: the lowest place that it has an address of.
fn frame(function: &[bpf_insn]) -> u64 {
    let mut lowest = 0_i64;
    // Whether a register is a copy of the frame's.
    let mut copies = [false; 16];
    for insn in function {
        let (dst, src) = (insn.dst_reg(), insn.src_reg());
        let base = if insn.code & 7 == 1 { src } else { dst };
        if ACCESS.contains(&(insn.code & 7)) && base == FRAME {
            lowest = lowest.min(insn.off.into());
        }
        if insn.code == ADD && copies[usize::from(dst)] {
            lowest = lowest.min(insn.imm.into());
        }
        if dst != FRAME {
            copies[usize::from(dst)] = insn.code == MOVE && src == FRAME;
        }
    }
    lowest.unsigned_abs()
}

/// The instruction that this one calls, if it does.
fn called(at: usize, insn: &bpf_insn) -> Option<usize> {
    let is_call = insn.code == CALL && insn.src_reg() == PSEUDO_CALL;
    let is_callback = insn.code == LOAD && insn.src_reg() == PSEUDO_FUNC;
    if !is_call && !is_callback {
        return None;
    }
    at.checked_add_signed(insn.imm as isize + 1)
}

#[cfg(test)]
mod tests {
    use aya_obj::generated::__BindgenBitfieldUnit;

    use super::*;

    const EXIT: u8 = 0x95;
    /// `BPF_STX | BPF_MEM | BPF_DW`.
    const STORE: u8 = 0x7b;

    fn insn(code: u8, (dst, src): (u8, u8), off: i16, imm: i32) -> bpf_insn {
        let mut insn = bpf_insn {
            code,
            _bitfield_align_1: [],
            _bitfield_1: __BindgenBitfieldUnit::new([0]),
            off,
            imm,
        };
        insn.set_dst_reg(dst);
        insn.set_src_reg(src);
        insn
    }

    /// A program whose two callees have `first` and 104 bytes; the first calls a third one of 8.
    fn program(first: i32) -> Vec<bpf_insn> {
        let exit = insn(EXIT, (0, 0), 0, 0);
        vec![
            insn(STORE, (FRAME, 1), -40, 0),
            insn(CALL, (0, PSEUDO_CALL), 0, 2),
            insn(LOAD, (2, PSEUDO_FUNC), 0, 5),
            exit,
            insn(MOVE, (3, FRAME), 0, 0),
            insn(ADD, (3, 0), 0, -first),
            insn(CALL, (0, PSEUDO_CALL), 0, 3),
            exit,
            insn(STORE, (FRAME, 1), -104, 0),
            exit,
            insn(STORE, (FRAME, 1), -8, 0),
            // A helper, and memory that is not the frame's.
            insn(CALL, (0, 0), 0, 1),
            insn(STORE, (1, 2), -500, 0),
            insn(ADD, (1, 0), 0, -500),
            exit,
        ]
    }

    #[test]
    fn frames_are_rounded_and_the_longest_way_counts() {
        assert_eq!(deepest(&program(97)).stack, 64 + 128 + 32);
        assert_eq!(deepest(&program(97)).frames, [40, 97, 8]);
        assert_eq!(deepest(&program(96)).stack, 64 + 96 + 32);
        assert_eq!(deepest(&program(8)).stack, 64 + 128);
    }

    #[test]
    fn a_function_without_a_frame_counts_too() {
        let exit = insn(EXIT, (0, 0), 0, 0);
        let program = [insn(CALL, (0, PSEUDO_CALL), 0, 1), exit, exit];
        assert_eq!(deepest(&program).stack, 2 * ROUND);
    }
}
