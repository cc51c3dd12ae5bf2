//! Names out of comments.
//!
//! Owns the forms in which CNI's plugins and netavark write them: `name: "net" id: "0123…"`, with
//! `dnat` before it and without quotes.

use crate::config::check_name;

/// The name of the network.
pub(super) fn network(comments: &[String]) -> Option<String> {
    found(comments, "name: ")
}

/// The identifier of the container, shortened as engines do.
pub(super) fn container(comments: &[String]) -> Option<String> {
    let mut id = found(comments, "id: ")?;
    let hex = id.len() > 12 && id.chars().all(|c| c.is_ascii_hexdigit());
    if hex {
        id.truncate(12);
    }
    Some(id)
}

fn found(comments: &[String], key: &str) -> Option<String> {
    let value = |comment: &String| {
        let (_, rest) = comment.split_once(key)?;
        let word = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split('"').next()?,
            None => rest.split_whitespace().next()?,
        };
        check_name(word).is_ok().then(|| word.to_owned())
    };
    comments.iter().find_map(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let id = "f0b0ca9d1ae3".repeat(4);
        for comment in [
            format!("dnat name: podman id: {id}"),
            format!("dnat name: \"podman\" id: \"{id}\""),
        ] {
            let comments = ["other".to_owned(), comment];
            assert_eq!(network(&comments).as_deref(), Some("podman"));
            assert_eq!(container(&comments).as_deref(), Some("f0b0ca9d1ae3"));
        }
        assert_eq!(network(&["name: \"a b\"".into()]), None);
        assert_eq!(container(&["id: ".into()]), None);
    }
}
