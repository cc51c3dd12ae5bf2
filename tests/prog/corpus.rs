//! The captures of `tests/corpus`, replayed: every verdict, reason and changed header as on record.
//!
//! Owns the comparison. Names the variable that writes the files anew; the manifest is written by
//! hand, so that verdicts are counted by somebody else than the programs.

#![expect(
    clippy::unwrap_used,
    reason = "a broken corpus fails the test that needs it"
)]

use std::{collections::BTreeMap, env, fs, path::PathBuf, sync::OnceLock};

use netpath_common::{
    event::Hook,
    testing::{Frame, judge},
};
use netpath_tests::{
    corpus,
    replay::{self, CONTAINERS, Packet, Source, Verdict},
    runner::Runner,
};
use serde::Deserialize;

/// Set: the tests write captures and outcomes instead of comparing them.
const WRITE: &str = "NETPATH_WRITE_CORPUS";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    capture: Vec<Entry>,
}

/// A replay: files by hook, and what must come of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    /// For the reader.
    #[expect(dead_code, reason = "a description")]
    about: String,
    /// File names by hook.
    files: BTreeMap<String, String>,
    /// Who sent what the veth hook saw, where the frames do not say.
    sender: Option<String>,
    /// How many packets meet each verdict.
    verdicts: BTreeMap<String, usize>,
}

/// Names the directory where the tests run away from their sources.
const DIRECTORY: &str = "NETPATH_CORPUS";

fn directory() -> PathBuf {
    let here = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus");
    env::var_os(DIRECTORY).map_or_else(here, PathBuf::from)
}

/// Whether the files are to be written anew; the captures then have been.
fn writes() -> bool {
    static CAPTURES: OnceLock<bool> = OnceLock::new();
    *CAPTURES.get_or_init(|| {
        let writes = env::var_os(WRITE).is_some();
        let files = corpus::cases().into_iter().flat_map(|case| case.files());
        for (name, bytes) in files.filter(|_| writes) {
            fs::write(directory().join(name), bytes).unwrap();
        }
        writes
    })
}

fn manifest() -> Vec<Entry> {
    writes();
    let text = fs::read_to_string(directory().join("manifest.toml")).unwrap();
    toml::from_str::<Manifest>(&text).unwrap().capture
}

fn hook(name: &str) -> Hook {
    let mut hooks = (0..=u8::MAX).map_while(Hook::from_u8);
    hooks.find(|hook| hook.as_str() == name).unwrap()
}

/// Replays on a host without flows.
fn replayed(runner: &mut Runner, entry: &Entry) -> Vec<Packet> {
    runner.forget();
    let sender = entry.sender.as_ref().map(|name| {
        let known = CONTAINERS.iter().find(|(known, _)| known == name);
        known.unwrap().1
    });
    let sources: Vec<_> = entry
        .files
        .iter()
        .map(|(name, file)| Source {
            path: directory().join(file),
            hook: hook(name),
            sender,
        })
        .collect();
    let frames = replay::read(&sources).unwrap_or_else(|e| panic!("{e}"));
    replay::replay(runner, &frames, 0).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn corpus_is_what_the_generator_makes() {
    let mut listed: Vec<_> = manifest()
        .into_iter()
        .flat_map(|entry| entry.files.into_values())
        .collect();
    for case in corpus::cases() {
        for (name, bytes) in case.files() {
            let path = directory().join(&name);
            let stored = fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            assert!(stored == bytes, "{name}: set {WRITE}=1 to write it anew");
            let before = listed.len();
            // More than once where several hooks see the same frames.
            listed.retain(|listed| *listed != name);
            assert!(listed.len() < before, "{name} is in the manifest");
        }
    }
    assert!(listed.is_empty(), "nothing makes {listed:?}");
}

#[test]
fn corpus_replays_as_on_record() {
    let mut runner = Runner::new();
    for entry in manifest() {
        let packets = replayed(&mut runner, &entry);
        let mut verdicts = BTreeMap::new();
        for packet in &packets {
            *verdicts.entry(packet.verdict.to_string()).or_insert(0) += 1;
            assert!(!packet.is_bad(), "{}: {}", entry.name, packet.outcome());
            if !matches!(
                packet.verdict,
                Verdict::Drop { .. } | Verdict::NotRun { .. }
            ) {
                let [before, after] = [&packet.input.bytes, &packet.output].map(|bytes| Frame {
                    bytes: bytes.clone(),
                    ..Frame::default()
                });
                assert_eq!(judge(&before, &after), Ok(()), "{}", entry.name);
            }
        }
        let text = replay::text(&packets);
        assert_eq!(verdicts, entry.verdicts, "{}:\n{text}", entry.name);
        let path = directory().join(format!("{}.txt", entry.name));
        if writes() {
            fs::write(&path, &text).unwrap();
        }
        let record =
            fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert_eq!(
            text, record,
            "{}: {WRITE}=1 writes the record anew",
            entry.name
        );
    }
}

/// What is written as pcapng reads back with the frames, times and places of the run.
#[test]
fn pcapng_holds_what_came_out() {
    let entries = manifest();
    let entry = entries.iter().find(|entry| entry.name == "udp").unwrap();
    let packets = replayed(&mut Runner::new(), entry);
    let path = env::temp_dir().join(format!("netpath-replay-{}.pcapng", std::process::id()));
    replay::pcapng(&path, &packets).unwrap();
    let bytes = fs::read(&path).unwrap();
    let source = Source {
        path: path.clone(),
        hook: Hook::UplinkIngress,
        sender: None,
    };
    let frames = replay::read(&[source]);
    fs::remove_file(&path).unwrap();
    let frames = frames.unwrap();
    let read: Vec<_> = frames
        .iter()
        .map(|frame| (frame.time, &frame.bytes))
        .collect();
    let want: Vec<_> = packets.iter().map(|p| (p.input.time, &p.output)).collect();
    assert_eq!(read, want);
    for packet in &packets {
        let comment = packet.verdict.to_string();
        let found = bytes
            .windows(comment.len())
            .any(|part| part == comment.as_bytes());
        assert!(found, "no comment says {comment}");
    }
}
