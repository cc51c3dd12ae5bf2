//! `--format`: the part of Go's templates that Docker's users write.
//!
//! Owns the language (`parse`, `expression`) and its meaning over a JSON value (`eval`): fields, `index`, `json` and a
//! few more functions, pipelines, `if`, `with`, `range` with its variables, trimmed blanks. What it does
//! not know it refuses by name: a format that is half understood would print half of what was meant.
//! There is no well-kept package for these templates.

mod eval;
mod expression;
mod parse;

pub(super) use eval::Scope;

use parse::Node;

/// A template.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Template {
    text: String,
    nodes: Vec<Node>,
}

/// What is wrong with a template, or with it and the value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("--format {text:?}: {what}")]
pub struct Error {
    text: String,
    what: String,
}

impl Template {
    /// Reads a template.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let nodes = parse::nodes(text).map_err(|what| Error {
            text: text.to_owned(),
            what,
        })?;
        Ok(Self {
            text: text.to_owned(),
            nodes,
        })
    }

    /// The text for a value.
    pub(super) fn render(&self, scope: &Scope<'_>) -> Result<String, Error> {
        eval::render(&self.nodes, scope).map_err(|what| Error {
            text: self.text.clone(),
            what,
        })
    }
}

/// Turns `\t` and `\n` into what they stand for, as Docker does in the formats of lists.
pub(super) fn escapes(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests;
