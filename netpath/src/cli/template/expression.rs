//! What stands in an action: fields, variables, functions, pipelines.

use super::parse::DEPTH;

/// Something with a value.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Expr {
    /// `.`
    Dot,
    /// `$name`; `$` alone is the value that the template began with.
    Variable(String),
    /// `.Field` of something.
    Field(Box<Expr>, String),
    /// Text, a number, a truth.
    Value(serde_json::Value),
    /// A function.
    Call(Function, Vec<Expr>),
}

/// The functions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Function {
    And,
    Eq,
    Index,
    Join,
    Json,
    Label,
    Len,
    Lower,
    Ne,
    Not,
    Or,
    Println,
    Split,
    Title,
    Truncate,
    Upper,
}

/// Name, function, and how many values it takes.
const FUNCTIONS: &[(&str, Function, std::ops::RangeInclusive<usize>)] = &[
    ("and", Function::And, 1..=9),
    ("eq", Function::Eq, 2..=9),
    ("index", Function::Index, 1..=9),
    ("join", Function::Join, 2..=2),
    ("json", Function::Json, 1..=1),
    ("len", Function::Len, 1..=1),
    ("lower", Function::Lower, 1..=1),
    ("ne", Function::Ne, 2..=2),
    ("not", Function::Not, 1..=1),
    ("or", Function::Or, 1..=9),
    ("println", Function::Println, 0..=9),
    ("split", Function::Split, 2..=2),
    ("title", Function::Title, 1..=1),
    ("truncate", Function::Truncate, 2..=2),
    ("upper", Function::Upper, 1..=1),
];

pub(super) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A word of an action; `glued`: nothing lies between it and the one before.
#[derive(Clone, Debug)]
struct Token<'t> {
    text: &'t str,
    glued: bool,
}

pub(super) fn expression(text: &str) -> Result<Expr, String> {
    let mut tokens = tokens(text)?.into_iter().peekable();
    let expr = pipeline(&mut tokens, 0)?;
    match tokens.next() {
        None => Ok(expr),
        Some(t) => Err(format!("`{}` is not expected there", t.text)),
    }
}

type Tokens<'t> = std::iter::Peekable<std::vec::IntoIter<Token<'t>>>;

fn tokens(text: &str) -> Result<Vec<Token<'_>>, String> {
    let (mut tokens, mut at, mut glued) = (Vec::new(), 0, false);
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = text.get(at..).unwrap_or_default();
        if c.is_whitespace() {
            (at, glued) = (at + c.len_utf8(), false);
            continue;
        }
        let length = match c {
            '(' | ')' | '|' => 1,
            '"' | '`' => quoted(rest).ok_or("a text without its closing quote")?,
            '.' | '$' => 1 + name_length(rest.get(1..).unwrap_or_default()),
            '-' => 1 + name_length(rest.get(1..).unwrap_or_default()),
            c if is_name(c) => name_length(rest),
            c => {
                return Err(format!(
                    "`{c}` is not known here, in `{}`; the form is {{{{.Field}}}} or \
                     {{{{FUNCTION .Field}}}}",
                    text.trim()
                ));
            }
        };
        let text = rest.get(..length).unwrap_or_default();
        tokens.push(Token { text, glued });
        (at, glued) = (at + length, true);
    }
    Ok(tokens)
}

fn name_length(text: &str) -> usize {
    text.find(|c| !is_name(c)).unwrap_or(text.len())
}

/// The length of a text in quotes, with them.
fn quoted(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// `a b | c`: the value of one is the last one of the next.
fn pipeline(tokens: &mut Tokens<'_>, depth: usize) -> Result<Expr, String> {
    if depth > DEPTH {
        return Err(format!("more than {DEPTH} brackets in each other"));
    }
    let mut value = command(tokens, depth, None)?;
    while tokens.next_if(|t| t.text == "|").is_some() {
        value = command(tokens, depth, Some(value))?;
    }
    Ok(value)
}

fn command(tokens: &mut Tokens<'_>, depth: usize, piped: Option<Expr>) -> Result<Expr, String> {
    let is_word = |t: &Token<'_>| t.text != "|" && t.text != ")";
    let first = tokens.peek().cloned().ok_or("an action without a word")?;
    let function = FUNCTIONS.iter().find(|(name, ..)| *name == first.text);
    let head = if function.is_some() {
        tokens.next();
        None
    } else {
        Some(operand(tokens, depth)?)
    };
    let mut values = Vec::new();
    while tokens.peek().is_some_and(is_word) {
        values.push(operand(tokens, depth)?);
    }
    values.extend(piped);
    match (function, head) {
        (Some((name, function, takes)), _) => {
            if !takes.contains(&values.len()) {
                return Err(format!(
                    "`{name}` takes {}, not {}",
                    amount(takes),
                    values.len()
                ));
            }
            Ok(Expr::Call(*function, values))
        }
        (None, Some(head)) if values.is_empty() => Ok(head),
        // Docker's one method with a value: `.Label "name"`.
        (None, Some(Expr::Field(_, name))) if name == "Label" && values.len() == 1 => {
            Ok(Expr::Call(Function::Label, values))
        }
        _ => Err(format!("`{}` is not a function; {}", first.text, known())),
    }
}

fn amount(takes: &std::ops::RangeInclusive<usize>) -> String {
    match (*takes.start(), *takes.end()) {
        (1, 1) => "one value".into(),
        (least, most) if least == most => format!("{least} values"),
        (least, most) => format!("{least} to {most} values"),
    }
}

fn known() -> String {
    let names: Vec<_> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
    format!("the functions are {}", names.join(", "))
}

fn operand(tokens: &mut Tokens<'_>, depth: usize) -> Result<Expr, String> {
    let token = tokens.next().ok_or("an action without a word")?;
    let text = token.text;
    let mut expr = match text.chars().next() {
        Some('(') => {
            let inside = pipeline(tokens, depth + 1)?;
            tokens
                .next_if(|t| t.text == ")")
                .ok_or("( without )".to_owned())?;
            inside
        }
        Some('.') if text.len() == 1 => Expr::Dot,
        Some('.') => field(Expr::Dot, text),
        Some('$') => Expr::Variable(text.get(1..).unwrap_or_default().to_owned()),
        Some('"') => {
            let wrong = |_| format!("{text} is not a text that can be read");
            Expr::Value(serde_json::from_str(text).map_err(wrong)?)
        }
        Some('`') => Expr::Value(text.trim_matches('`').into()),
        _ => match (text, text.parse::<i64>()) {
            ("true" | "false", _) => Expr::Value((text == "true").into()),
            (_, Ok(number)) => Expr::Value(number.into()),
            _ => return Err(format!("`{text}` is not a function; {}", known())),
        },
    };
    // Fields of it stand right behind.
    while let Some(token) = tokens.next_if(|t| t.glued && t.text.starts_with('.')) {
        if token.text.len() == 1 {
            return Err(format!("`{text}.` without the name of a field"));
        }
        expr = field(expr, token.text);
    }
    Ok(expr)
}

fn field(of: Expr, text: &str) -> Expr {
    Expr::Field(Box::new(of), text.get(1..).unwrap_or_default().to_owned())
}
