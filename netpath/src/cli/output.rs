//! Printing: tables in Docker's form, JSON, plain lines.

use std::io::{self, Write as _};

use comfy_table::{CellAlignment, ColumnConstraint, Table, Width, presets::NOTHING};
use serde::Serialize;

use super::Error;

/// Prints lines on standard output. A reader that has gone (`| head`) is no error.
pub(super) fn lines<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    for line in lines {
        match writeln!(out, "{}", line.as_ref()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

/// Prints a value as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), Error> {
    lines([serde_json::to_string_pretty(value)?])
}

/// The narrowest column of a table, with the blanks behind it: Docker's.
const NARROWEST: u16 = 10;

/// A table without borders, three blanks between its columns as Docker's.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Vec<String> {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column
            .set_padding((0, 3))
            .set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(NARROWEST)))
            .set_cell_alignment(CellAlignment::Left);
    }
    table
        .lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_docker_s() {
        let rows = [vec!["1a2b3c4d5e6f".to_owned(), "bridge".to_owned()]];
        assert_eq!(
            table(&["NETWORK ID", "NAME"], rows),
            ["NETWORK ID     NAME", "1a2b3c4d5e6f   bridge"]
        );
    }
}
