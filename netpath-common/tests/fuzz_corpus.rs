//! The kept inputs of the fuzzer, on a stable compiler and without one.
//!
//! Owns the replay. What an input means and what must hold is `testing::fuzz`'s.

use std::{fs, path::Path};

use netpath_common::testing::fuzz;

#[test]
fn every_kept_input_runs_as_it_must() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/datapath");
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let path = entry.unwrap().path();
        // Named before it runs, so that a failure names it.
        println!("{}", path.display());
        fuzz::run(&fs::read(&path).unwrap());
        count += 1;
    }
    assert!(count >= 50, "{count} inputs in {}", directory.display());
}
