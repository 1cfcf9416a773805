//! Takes secret values out of texts, in whatever form programs print them: as JSON in JSON, quoted for a shell, in a
//! URL, in XML, as Python, Ruby and Go write texts, or in base 64. Each character of a value is looked for in each of
//! its forms, so that it does not matter how often a value was quoted.

use std::{ops::Range, sync::OnceLock};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use regex::{Regex, RegexBuilder, escape};
use serde_json::Value;

/// Shorter values would blacken half of a log, and protect nothing.
const SHORTEST: usize = 4;
/// Texts inside a value that is JSON are often words that anybody may know, and must be longer.
const SHORTEST_INSIDE: usize = 8;
/// Shorter pieces of base 64 are found in many words.
const SHORTEST_CODED: usize = 6;
/// Longer lines of a value are hidden in pieces, since programs break or cut them, too. In characters.
const LONGEST_PIECE: usize = 64;
/// How long the lines of base 64 are, as `base64` and as OpenSSL break them.
const WIDTHS: [usize; 2] = [76, 64];
/// The character of base 64 that a value shares with what follows it, if any, and how a code is filled up.
const END_OF_CODE: &str = "[A-Za-z0-9+/_-]?(?:=|%3[dD]){0,2}";
/// What the expression of a piece may take, in bytes: more than that of one which is quotes alone.
const LARGEST: usize = 1 << 28;
/// A backslash, which a URL may hold by its number.
const BACKSLASH: &str = r"\\|%(?:25)*5[cC]";
/// What stands in the place of a secret.
const MASK: &str = "***";

/// Texts that nobody may read.
#[derive(Debug, Default)]
pub(super) struct Redaction {
    pieces: Vec<Piece>,
}

/// A text that is looked for in all its forms.
#[derive(Debug)]
struct Piece {
    form: Form,
    /// Made when it is needed for the first time: hardly any secret is ever printed.
    expression: OnceLock<Option<Regex>>,
}

#[derive(Debug)]
enum Form {
    Written(String),
    /// In base 64.
    Coded(String),
    /// The last of it.
    CodedEnd(String),
}

impl Redaction {
    /// Takes this value out of all texts from now on.
    pub(super) fn hide(&mut self, value: &str) {
        let document: Value = serde_json::from_str(value).unwrap_or_default();
        let inside = texts(&document).into_iter().flat_map(|text| pieces(text, SHORTEST_INSIDE));
        let written = pieces(value, SHORTEST).chain(inside).map(Form::Written);
        let coded =
            [value, value.trim_end()].into_iter().filter(|value| value.trim().len() >= SHORTEST).flat_map(coded);
        self.pieces.extend(written.chain(coded).map(Piece::new));
    }

    /// A text without what is secret. Pieces may overlap: all are looked for before one is taken out.
    pub(super) fn redacted(&self, text: &str) -> String {
        let expressions = self.pieces.iter().filter_map(|piece| piece.expression_in(text));
        let mut found: Vec<Range<usize>> =
            expressions.flat_map(|expression| expression.find_iter(text)).map(|found| found.range()).collect();
        found.sort_by_key(|range| range.start);
        let (mut shown, mut end) = (String::new(), 0);
        for range in found {
            if range.start > end || shown.is_empty() {
                shown.push_str(text.get(end..range.start).unwrap_or_default());
                shown.push_str(MASK);
            }
            end = end.max(range.end);
        }
        shown + text.get(end..).unwrap_or_default()
    }
}

impl Piece {
    const fn new(form: Form) -> Self {
        Self { form, expression: OnceLock::new() }
    }

    fn text(&self) -> &str {
        match &self.form {
            Form::Written(text) | Form::Coded(text) | Form::CodedEnd(text) => text,
        }
    }

    /// What finds it, if all of it is in that text which no form changes.
    fn expression_in(&self, text: &str) -> Option<&Regex> {
        let mut runs = self.text().split(|letter: char| !letter.is_ascii_alphanumeric());
        let made = || {
            let expression = match &self.form {
                Form::Written(text) => written(text),
                Form::Coded(code) => alphabets(code),
                Form::CodedEnd(code) => alphabets(code) + END_OF_CODE,
            };
            RegexBuilder::new(&expression).size_limit(LARGEST).build().ok()
        };
        if runs.all(|run| text.contains(run)) { self.expression.get_or_init(made).as_ref() } else { None }
    }
}

/// The lines of a value, long ones in pieces.
fn pieces(value: &str, shortest: usize) -> impl Iterator<Item = String> {
    let lines = value.lines().map(str::trim).filter(move |line| line.len() >= shortest);
    lines.flat_map(|line| cut(line, LONGEST_PIECE))
}

/// A text in pieces of about one length.
fn cut(text: &str, longest: usize) -> Vec<String> {
    let letters: Vec<char> = text.chars().collect();
    let count = letters.len().div_ceil(longest).max(1);
    letters.chunks(letters.len().div_ceil(count).max(1)).map(String::from_iter).collect()
}

/// The texts in a JSON document, such as the private key of a cloud's account.
fn texts(document: &Value) -> Vec<&str> {
    match document {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(fields) => fields.values().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// An expression for a text in all forms in which programs write it.
fn written(text: &str) -> String {
    text.chars().map(character).collect()
}

fn character(letter: char) -> String {
    if letter.is_ascii_alphanumeric() {
        return letter.to_string();
    }
    let more = match letter {
        // One or more.
        '\\' => format!("(?:{BACKSLASH})+"),
        // Between quotes of a shell it is '\'' or '"'"', and these may be quoted again. What ends the value's own quotes
        // may be taken for a part of it.
        '\'' => {
            let (single, double) = (forms('\''), forms('"'));
            format!("(?:{double})*{single}(?:{single}|{double}|{BACKSLASH})*")
        }
        '"' => format!("{}{{1,2}}", forms('"')),
        '$' | '%' => format!("{}{{1,2}}", forms(letter)),
        // In forms, a space is a plus.
        ' ' => format!("{}|{}", forms(' '), forms('+')),
        '\t' => format!(r"{}|(?:{BACKSLASH})+t", forms('\t')),
        _ => return forms(letter),
    };
    format!("(?:{more})")
}

/// A character as it is, by a number or by a name, behind any number of backslashes.
fn forms(letter: char) -> String {
    let plain = escape(&letter.to_string());
    let (percent, entity, number) = (percent(letter), entity(letter), number(letter));
    // The longest first: `%26amp%3B` begins with `%26`, and both are an ampersand.
    format!("(?:(?:{BACKSLASH})*(?:{entity}|{percent}|{number}|{plain}))")
}

/// Behind a backslash: `\u003c`, `\x3c`, `\U0001f600`, `\u{1f600}`, as two surrogates, and its bytes as `\xc3\xbc` or
/// `\303\274`.
fn number(letter: char) -> String {
    let code = u32::from(letter);
    if letter.is_ascii() {
        return format!(r"(?:{BACKSLASH})(?:[uUx]\{{?0*(?i-u:{code:x})\}}?|{code:03o})");
    }
    let after = |what: String| format!("(?:{BACKSLASH})+(?i-u:{what})");
    let units = letter.encode_utf16(&mut [0; 2]).iter().map(|unit| after(format!("u{unit:04x}"))).collect::<String>();
    let (hexadecimal, octal): (String, String) =
        bytes(letter).map(|byte| (after(format!("x{byte:02x}")), after(format!("{byte:03o}")))).unzip();
    let whole = after(format!(r"(?:x|u)\{{?0*{code:x}\}}?"));
    [units, hexadecimal, octal, whole].join("|")
}

/// As in a URL, and in a URL in a URL: `%2522` is `%22` is a quote.
fn percent(letter: char) -> String {
    let byte = |byte| format!("(?:{BACKSLASH})*%(?:25)*(?i-u:{byte:02x})");
    bytes(letter).map(byte).collect::<Vec<_>>().concat()
}

fn bytes(letter: char) -> impl Iterator<Item = u8> {
    let mut buffer = [0; 4];
    letter.encode_utf8(&mut buffer).as_bytes().to_vec().into_iter()
}

/// As in XML and HTML.
fn entity(letter: char) -> String {
    let name = match letter {
        '&' => "|amp",
        '<' => "|lt",
        '>' => "|gt",
        '"' => "|quot",
        '\'' => "|apos",
        _ => "",
    };
    let code = u32::from(letter);
    // URLs, shells and JSON quote these marks themselves.
    let [and, hash, semicolon] =
        ['&', '#', ';'].map(|mark| format!("(?:{BACKSLASH})*(?:{mark}|{}|{})", percent(mark), number(mark)));
    format!("{and}(?:amp{semicolon})*(?:{hash}(?i-u:0*{code}|x0*{code:x}){name}){semicolon}")
}

/// A value in base 64, wherever in a longer text it stands, such as behind the name of a user, and broken into lines.
fn coded(value: &str) -> Vec<Form> {
    let whole = STANDARD_NO_PAD.encode(value);
    let lines = WIDTHS.into_iter().filter(|width| whole.len() > *width).flat_map(|width| broken(&whole, width));
    let within = (0..3).map(|before| stem(value, before)).filter(|stem| stem.len() >= SHORTEST_CODED);
    let within = within.map(|stem| cut(&stem, LONGEST_PIECE));
    lines.map(|line| vec![line]).chain(within).chain([cut(&whole, LONGEST_PIECE)]).flat_map(of_code).collect()
}

fn of_code(mut pieces: Vec<String>) -> Vec<Form> {
    let last = pieces.pop().map(Form::CodedEnd);
    pieces.into_iter().map(Form::Coded).chain(last).collect()
}

/// A code in lines. The last one, if it is short, tells little.
fn broken(code: &str, width: usize) -> Vec<String> {
    let letters: Vec<char> = code.chars().collect();
    letters.chunks(width).filter(|line| line.len() >= SHORTEST_CODED).map(String::from_iter).collect()
}

/// What of the code is the same whatever stands around the value, with so many bytes before it.
fn stem(value: &str, before: usize) -> String {
    let code = STANDARD_NO_PAD.encode([&vec![0; before], value.as_bytes()].concat());
    let (first, end) = ((before * 8).div_ceil(6), (before + value.len()) * 8 / 6);
    code.get(first..end).unwrap_or_default().to_owned()
}

/// The alphabet for URLs has two other characters.
fn alphabets(code: &str) -> String {
    let forms = code.chars().map(|letter| match letter {
        '+' => r"(?:[+-]|\\+u002[bB]|%2[bB])".to_owned(),
        '/' => r"(?:\\*/|_|%2[fF])".to_owned(),
        letter => letter.to_string(),
    });
    forms.collect()
}

#[cfg(test)]
mod tests;
