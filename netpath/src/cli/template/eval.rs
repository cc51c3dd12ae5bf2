//! The meaning: a tree over a JSON value.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    expression::{Expr, Function},
    parse::Node,
};

/// What a template is about.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Scope<'a> {
    /// The value.
    pub(in crate::cli) root: &'a Value,
    /// What `.Label` looks in; an object.
    pub(in crate::cli) labels: &'a Value,
    /// Fields whose values are maps: a name that one of them lacks is empty, and no mistake.
    pub(in crate::cli) maps: &'a [&'a str],
    /// Fields that are not shown where they are empty.
    pub(in crate::cli) optional: &'a [&'a str],
}

pub(super) fn render(nodes: &[Node], scope: &Scope<'_>) -> Result<String, String> {
    let mut eval = Eval {
        scope,
        variables: Vec::new(),
        out: String::new(),
    };
    eval.nodes(nodes, scope.root)?;
    Ok(eval.out)
}

struct Eval<'a> {
    scope: &'a Scope<'a>,
    variables: Vec<(String, Value)>,
    out: String,
}

impl Eval<'_> {
    fn nodes(&mut self, nodes: &[Node], dot: &Value) -> Result<(), String> {
        nodes.iter().try_for_each(|node| self.node(node, dot))
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<(), String> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(expr) => {
                let value = self.value(expr, dot)?;
                print(&value, &mut self.out);
            }
            Node::If {
                with,
                of,
                then,
                otherwise,
            } => {
                let value = self.value(of, dot)?;
                match (is_true(&value), with) {
                    (true, true) => self.nodes(then, &value)?,
                    (true, false) => self.nodes(then, dot)?,
                    (false, _) => self.nodes(otherwise, dot)?,
                }
            }
            Node::Range {
                key,
                item,
                of,
                body,
                otherwise,
            } => {
                let each: Vec<(Value, Value)> = match self.value(of, dot)? {
                    Value::Array(all) => (0u64..).map(Value::from).zip(all).collect(),
                    Value::Object(all) => all.into_iter().map(|(k, v)| (k.into(), v)).collect(),
                    Value::Null => Vec::new(),
                    other => return Err(format!("range goes over lists and maps, not {other}")),
                };
                if each.is_empty() {
                    return self.nodes(otherwise, dot);
                }
                for (place, value) in each {
                    let before = self.variables.len();
                    self.variables
                        .extend(key.iter().map(|name| (name.clone(), place.clone())));
                    self.variables
                        .extend(item.iter().map(|name| (name.clone(), value.clone())));
                    self.nodes(body, &value)?;
                    self.variables.truncate(before);
                }
            }
        }
        Ok(())
    }

    fn value(&self, expr: &Expr, dot: &Value) -> Result<Value, String> {
        match expr {
            Expr::Dot => Ok(dot.clone()),
            Expr::Value(value) => Ok(value.clone()),
            Expr::Variable(name) if name.is_empty() => Ok(self.scope.root.clone()),
            Expr::Variable(name) => {
                let found = self.variables.iter().rev().find(|(n, _)| n == name);
                found
                    .map(|(_, value)| value.clone())
                    .ok_or_else(|| format!("the variable ${name} is not set; range sets variables"))
            }
            Expr::Field(of, name) => self.field(of, name, dot),
            Expr::Call(function, values) => {
                let values = values.iter().map(|v| self.value(v, dot));
                self.call(*function, values.collect::<Result<_, _>>()?)
            }
        }
    }

    fn field(&self, of: &Expr, name: &str, dot: &Value) -> Result<Value, String> {
        let Scope { maps, optional, .. } = self.scope;
        let value = self.value(of, dot)?;
        let Value::Object(fields) = &value else {
            return Err(format!("`.{name}`: {} has no fields", kind(&value)));
        };
        if let Some(found) = fields.get(name) {
            return Ok(found.clone());
        }
        let of_map = matches!(of, Expr::Field(_, map) if maps.contains(&map.as_str()));
        if of_map || optional.contains(&name) {
            return Ok("".into());
        }
        let known: Vec<_> = fields.keys().map(|k| format!(".{k}")).collect();
        Err(format!(
            "there is no `.{name}`; the fields here are {}",
            known.join(", ")
        ))
    }

    fn call(&self, function: Function, values: Vec<Value>) -> Result<Value, String> {
        let mut values = values.into_iter();
        let mut next = || values.next().unwrap_or_default();
        Ok(match function {
            Function::Json => next().to_string().into(),
            Function::Len => match next() {
                Value::Array(all) => all.len().into(),
                Value::Object(all) => all.len().into(),
                Value::String(text) => text.len().into(),
                other => return Err(format!("len: {} has no length", kind(&other))),
            },
            Function::Lower => text(&next()).to_lowercase().into(),
            Function::Upper => text(&next()).to_uppercase().into(),
            Function::Title => title(&text(&next())).into(),
            Function::Not => (!is_true(&next())).into(),
            Function::Ne => (next() != next()).into(),
            Function::Eq => {
                let first = next();
                values.any(|other| other == first).into()
            }
            Function::And => {
                let first = next();
                values.fold(first, |a, b| if is_true(&a) { b } else { a })
            }
            Function::Or => {
                let first = next();
                values.fold(first, |a, b| if is_true(&a) { a } else { b })
            }
            Function::Join => {
                let (all, between) = (next(), text(&next()));
                let Value::Array(all) = &all else {
                    return Err(format!("join: {} is not a list", kind(&all)));
                };
                let all: Vec<_> = all.iter().map(text).collect();
                all.join(&between).into()
            }
            Function::Split => {
                let (whole, by) = (text(&next()), text(&next()));
                whole
                    .split(by.as_str())
                    .map(Value::from)
                    .collect::<Vec<_>>()
                    .into()
            }
            Function::Truncate => {
                let (whole, length) = (text(&next()), next());
                let length = length
                    .as_u64()
                    .ok_or_else(|| format!("truncate: {length} is not a length"))?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                whole.chars().take(length).collect::<String>().into()
            }
            Function::Println => {
                let words: Vec<_> = values.map(|v| text(&v)).collect();
                format!("{}\n", words.join(" ")).into()
            }
            Function::Label => {
                let name = text(&next());
                self.scope.labels.get(&name).cloned().unwrap_or("".into())
            }
            Function::Index => {
                let first = next();
                values.try_fold(first, |of, at| index(&of, &at))?
            }
        })
    }
}

/// One step into a list or a map; a name that a map lacks is empty, as Go's.
fn index(of: &Value, at: &Value) -> Result<Value, String> {
    match (of, at) {
        (Value::Object(map), Value::String(name)) => {
            Ok(map.get(name).cloned().unwrap_or_else(|| "".into()))
        }
        (Value::Array(list), Value::Number(n)) => n
            .as_u64()
            .and_then(|n| list.get(usize::try_from(n).ok()?))
            .cloned()
            .ok_or_else(|| format!("index: there is no {n} in a list of {}", list.len())),
        _ => Err(format!(
            "index: {} has nothing at {at}; lists have numbers, maps have names",
            kind(of)
        )),
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a map".into(),
        Value::Null => "nothing".into(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

/// Go's: everything that is not empty.
fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is) => *is,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => !all.is_empty(),
    }
}

fn title(text: &str) -> String {
    let mut begins = true;
    let upper = |c: char| {
        let first = std::mem::replace(&mut begins, c.is_whitespace());
        let same = (!first).then_some(c);
        let upper = first.then(|| c.to_uppercase()).into_iter().flatten();
        same.into_iter().chain(upper).collect::<String>()
    };
    text.chars().map(upper).collect()
}

fn text(value: &Value) -> String {
    let mut out = String::new();
    print(value, &mut out);
    out
}

/// As Go prints: text as it is, `[a b]`, `map[name:value]`.
fn print(value: &Value, out: &mut String) {
    match value {
        Value::String(text) => out.push_str(text),
        Value::Null => out.push_str("<nil>"),
        Value::Bool(_) | Value::Number(_) => {
            let _ = write!(out, "{value}");
        }
        Value::Array(all) => {
            out.push('[');
            for (i, item) in all.iter().enumerate() {
                out.push_str(if i > 0 { " " } else { "" });
                print(item, out);
            }
            out.push(']');
        }
        Value::Object(all) => {
            out.push_str("map[");
            for (i, (name, item)) in all.iter().enumerate() {
                let _ = write!(out, "{}{name}:", if i > 0 { " " } else { "" });
                print(item, out);
            }
            out.push(']');
        }
    }
}
