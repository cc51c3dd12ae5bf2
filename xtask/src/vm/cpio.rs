//! Archives in the format that the kernel unpacks as its first file system (`newc`).
//!
//! Owns the format only.

use std::collections::BTreeSet;

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;

/// An archive in memory.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
}

impl Archive {
    /// Adds a file, executable for all, and the directories above it.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
        self.entry(path, PROGRAM, content);
    }

    /// Adds a directory and those above it.
    pub(crate) fn directory(&mut self, path: &str) {
        if self.directories.contains(path) {
            return;
        }
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
        self.directories.insert(path.to_owned());
        self.entry(path, DIRECTORY, &[]);
    }

    /// The finished archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        let name_size = name.len() + 1;
        self.bytes.extend_from_slice(b"070701");
        // ino, mode, uid, gid, nlink, mtime
        for field in [0, mode, 0, 0, 1, 0] {
            self.number(u64::from(field));
        }
        self.number(content.len() as u64);
        // devmajor, devminor, rdevmajor, rdevminor
        for _ in 0..4 {
            self.number(0);
        }
        self.number(name_size as u64);
        self.number(0);
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn number(&mut self, number: u64) {
        self.bytes
            .extend_from_slice(format!("{number:08x}").as_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_parents_come_first() {
        let mut archive = Archive::default();
        archive.file("a/b/c", b"12345");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        let names: Vec<_> = text
            .split("070701")
            .skip(1)
            .map(|entry| entry[104..].split('\0').next().unwrap())
            .collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "TRAILER!!!"]);
        assert_eq!(bytes.len() % 4, 0);
    }
}
