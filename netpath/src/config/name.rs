//! Which names objects and interfaces may have.

/// Checks the name of a network or endpoint: Docker's rule for names.
///
/// # Errors
/// The rule, as a sentence.
pub fn check_name(name: &str) -> Result<(), String> {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
    if first && name.len() <= 128 && chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c)) {
        return Ok(());
    }
    Err(
        "a name has 1 to 128 of the characters a-z A-Z 0-9 _ . - and begins with a letter or digit"
            .into(),
    )
}

/// Checks the name of an interface: the kernel's rule (`dev_valid_name`), and no `%`, which the
/// kernel replaces by a number.
///
/// # Errors
/// The rule, as a sentence.
pub fn check_ifname(name: &str) -> Result<(), String> {
    let bad = |c: char| c == '/' || c == ':' || c == '%' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > 15 {
        return Err(format!(
            "an interface name has 1 to 15 bytes, this one {}",
            name.len()
        ));
    }
    if name == "." || name == ".." || name.chars().any(bad) {
        return Err(
            "an interface name has no /, :, %, blank or control character and is neither . nor .."
                .into(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "PINK", "web-1", "0.x_y"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a b", "ä", "a/b", &"x".repeat(129)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn interface_names() {
        for good in ["eth0", "netpath0", "br-1a2b3c4d5e6f", "äö"] {
            assert!(check_ifname(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "a b",
            "veth%d",
            "sixteen-bytes-xx",
            "tab\t",
        ] {
            assert!(check_ifname(bad).is_err(), "{bad}");
        }
    }
}
