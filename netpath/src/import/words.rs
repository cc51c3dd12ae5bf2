//! The words of a line of `iptables-save`.
//!
//! Owns its quoting (`xtables_save_string`, `add_param_to_argv`): double quotes around what has other
//! than plain characters, and a backslash before a quotation mark or a backslash within them.

/// A line that cannot be taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a quotation mark is left open")]
pub(super) struct OpenQuote;

/// Takes a line apart.
pub(super) fn words(line: &str) -> Result<Vec<String>, OpenQuote> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                // An empty pair of quotes is a word as well.
                word.get_or_insert_default();
            }
            '\\' if quoted => {
                let escaped = chars.next().ok_or(OpenQuote)?;
                word.get_or_insert_default().push(escaped);
            }
            c if c.is_whitespace() && !quoted => all.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if quoted {
        return Err(OpenQuote);
    }
    all.extend(word);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes() {
        for (line, want) in [
            ("", &[][..]),
            ("  -A  X\t-j Y ", &["-A", "X", "-j", "Y"]),
            (
                r#"--comment "two words" -j"#,
                &["--comment", "two words", "-j"],
            ),
            (
                r#"--comment "name: \"a b\" id: \"c\\d\"""#,
                &["--comment", r#"name: "a b" id: "c\d""#],
            ),
            (r#"a"b c"d """#, &["ab cd", ""]),
            (r"back\slash", &[r"back\slash"]),
        ] {
            assert_eq!(words(line).unwrap(), want, "{line}");
        }
        for open in [r#"""#, r#"a "b"#, r#"a "b\"#, r#"a "b\""#] {
            assert_eq!(words(open), Err(OpenQuote), "{open}");
        }
    }
}
