//! The language: text and actions into a tree. What stands in an action is [`super::expression`]'s.

use super::expression::{Expr, expression, is_name};

/// A piece of a template.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Node {
    /// As it stands.
    Text(String),
    /// What an expression is.
    Print(Expr),
    /// One of two, and in `with` what is asked is the new dot.
    If {
        with: bool,
        of: Expr,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    /// Once for each, with variables for its place and for itself.
    Range {
        key: Option<String>,
        item: Option<String>,
        of: Expr,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// How deep blocks and brackets may lie in each other.
pub(super) const DEPTH: usize = 64;

pub(super) fn nodes(text: &str) -> Result<Vec<Node>, String> {
    let mut pieces = Pieces::new(text)?;
    let (nodes, end) = block(&mut pieces, 0)?;
    match end {
        Stop::Text => Ok(nodes),
        Stop::Else => Err("{{else}} without {{if}}".into()),
        Stop::End => Err("{{end}} without {{if}}, {{with}} or {{range}}".into()),
    }
}

/// Text and actions, one after the other.
struct Pieces(std::vec::IntoIter<Piece>);

enum Piece {
    Text(String),
    Action(String),
}

impl Pieces {
    fn new(text: &str) -> Result<Self, String> {
        let (mut pieces, mut rest, mut trim) = (Vec::new(), text, false);
        loop {
            let (plain, action) = match rest.split_once("{{") {
                Some((plain, action)) => (plain, Some(action)),
                None => (rest, None),
            };
            let plain = if trim { plain.trim_start() } else { plain };
            let Some(action) = action else {
                pieces.push(Piece::Text(plain.to_owned()));
                return Ok(Self(pieces.into_iter()));
            };
            let (inside, after) = action_end(action).ok_or("{{ without }}")?;
            let is_blank = |c: Option<char>| c.is_some_and(char::is_whitespace);
            let before = inside
                .strip_prefix('-')
                .filter(|i| is_blank(i.chars().next()));
            let plain = match before {
                Some(_) => plain.trim_end(),
                None => plain,
            };
            let inside = before.unwrap_or(inside);
            let behind = inside
                .strip_suffix('-')
                .filter(|i| is_blank(i.chars().last()));
            trim = behind.is_some();
            pieces.push(Piece::Text(plain.to_owned()));
            let inside = behind.unwrap_or(inside).trim();
            if !(inside.starts_with("/*") && inside.ends_with("*/")) {
                pieces.push(Piece::Action(inside.to_owned()));
            }
            rest = after;
        }
    }
}

/// What lies before the `}}` that no quotes hold, and what behind.
fn action_end(text: &str) -> Option<(&str, &str)> {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || c == '`' => quote = Some(c),
            None => {
                if let Some(after) = text.get(at..).and_then(|rest| rest.strip_prefix("}}")) {
                    return Some((text.get(..at)?, after));
                }
            }
        }
    }
    None
}

/// What ended a block.
enum Stop {
    Text,
    Else,
    End,
}

fn block(pieces: &mut Pieces, depth: usize) -> Result<(Vec<Node>, Stop), String> {
    if depth > DEPTH {
        return Err(format!("more than {DEPTH} blocks in each other"));
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.0.next() {
        let action = match piece {
            Piece::Text(text) if text.is_empty() => continue,
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(action) => action,
        };
        let (word, rest) = action
            .split_once(char::is_whitespace)
            .unwrap_or((&action, ""));
        match word {
            "end" if rest.is_empty() => return Ok((nodes, Stop::End)),
            "else" if rest.is_empty() => return Ok((nodes, Stop::Else)),
            "if" | "with" => {
                let of = expression(rest)?;
                let (then, otherwise) = branches(pieces, word, depth)?;
                let with = word == "with";
                nodes.push(Node::If {
                    with,
                    of,
                    then,
                    otherwise,
                });
            }
            "range" => {
                let (names, of) = match rest.split_once(":=") {
                    Some((names, of)) => (names, of),
                    None => ("", rest),
                };
                let (key, item) = variables(names)?;
                let of = expression(of)?;
                let (body, otherwise) = branches(pieces, word, depth)?;
                nodes.push(Node::Range {
                    key,
                    item,
                    of,
                    body,
                    otherwise,
                });
            }
            _ => nodes.push(Node::Print(expression(&action)?)),
        }
    }
    Ok((nodes, Stop::Text))
}

fn branches(
    pieces: &mut Pieces,
    word: &str,
    depth: usize,
) -> Result<(Vec<Node>, Vec<Node>), String> {
    let missing = || format!("{{{{{word}}}}} without {{{{end}}}}");
    let (first, end) = block(pieces, depth + 1)?;
    match end {
        Stop::Text => Err(missing()),
        Stop::End => Ok((first, Vec::new())),
        Stop::Else => match block(pieces, depth + 1)? {
            (other, Stop::End) => Ok((first, other)),
            (_, Stop::Else) => Err("a second {{else}}".into()),
            (_, Stop::Text) => Err(missing()),
        },
    }
}

/// The variables of `range $key, $item := …`, or of `range $item := …`.
fn variables(names: &str) -> Result<(Option<String>, Option<String>), String> {
    let name = |text: &str| {
        let name = text.trim().strip_prefix('$').unwrap_or_default();
        let good = !name.is_empty() && name.chars().all(is_name);
        let wrong = || format!("`{}` is not a variable; write $name", text.trim());
        good.then(|| name.to_owned()).ok_or_else(wrong)
    };
    match names.split_once(',') {
        _ if names.trim().is_empty() => Ok((None, None)),
        None => Ok((None, Some(name(names)?))),
        Some((key, item)) => Ok((Some(name(key)?), Some(name(item)?))),
    }
}
