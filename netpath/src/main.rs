//! The `netpath` program.
fn main() {}
