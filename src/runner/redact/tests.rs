//! Values as programs print them. The encodings are those of our own libraries where they have them, and else written
//! here by the rules of the programs.

use std::fmt::Write;

use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use proptest::prelude::*;

use super::*;

fn hidden(value: &str) -> Redaction {
    let mut redaction = Redaction::default();
    redaction.hide(value);
    redaction
}

type Encoding = fn(&str) -> String;

/// With their names, for a test that fails.
const ENCODINGS: [(&str, Encoding); 11] = [
    ("JSON", json),
    ("JSON in ASCII", |text| ascii(&json(text))),
    ("JSON of Go and HCL", |text| json(text).replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")),
    ("a shell's single quotes", |text| text.replace('\'', "'\\''")),
    ("Python's shlex", |text| text.replace('\'', "'\"'\"'")),
    ("a shell's double quotes", |text| behind(text, |letter| "\"\\$`".contains(letter))),
    ("printf %q", |text| behind(text, |letter| letter.is_ascii() && !letter.is_ascii_alphanumeric())),
    ("a URL", |text| url(text, "%20")),
    ("a form", |text| url(text, "+")),
    ("XML", |text| text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;").replace('\'', "&#39;")),
    ("text of Python", |text| text.replace('\\', "\\\\").replace('\'', "\\'").replace('\t', "\\t")),
];

fn json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

fn ascii(text: &str) -> String {
    text.encode_utf16().fold(String::new(), |mut ascii, unit| {
        match u8::try_from(unit).ok().filter(u8::is_ascii) {
            Some(byte) => ascii.push(byte.into()),
            None => write!(ascii, "\\u{unit:04x}").unwrap(),
        }
        ascii
    })
}

fn behind(text: &str, special: fn(char) -> bool) -> String {
    text.chars().flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter])).collect()
}

fn url(text: &str, space: &str) -> String {
    text.bytes().fold(String::new(), |mut url, byte| {
        match byte {
            b' ' => url.push_str(space),
            byte if byte.is_ascii_alphanumeric() => url.push(byte.into()),
            byte => write!(url, "%{byte:02X}").unwrap(),
        }
        url
    })
}

#[test]
fn values_are_taken_out() {
    let two_lines = "canary-two\nsecond line\n";
    for (value, text, expected) in [
        ("canary", "the canary sings", "the *** sings"),
        ("canary", "Y2FuYXJ5", "***"),
        ("canary", &STANDARD.encode("user:canary and on"), "dXNlcjp***gYW5kIG9u"),
        (two_lines, "canary-two", "***"),
        (two_lines, "second line", "***"),
        (two_lines, &STANDARD.encode(two_lines), "***"),
        (two_lines, r#"{"pw": "canary-two\nsecond line\n"}"#, r#"{"pw": "***\n***\n"}"#),
        // Of found.md: packer prints how it calls ansible.
        (r#"Xy"canary\pass"#, r#"--extra-vars {"pw":"Xy\"canary\\pass"}"#, r#"--extra-vars {"pw":"***"}"#),
        ("abc", "abc", "abc"),
        ("a.c+d", "abcd a.c+d", "abcd ***"),
        ("a b c d", "GET /?pw=a+b+c+d&x", "GET /?pw=***&x"),
        // XML in a URL.
        ("canary&", "at <canary%26amp%3B>", "at <***>"),
        // A folder's parts, too, and they are no secret.
        (r#"["short", "long enough"]"#, "short, long enough", "short, ***"),
    ] {
        assert_eq!(hidden(value).redacted(text), expected, "{value}");
    }
}

#[test]
fn the_key_of_a_clouds_account_is_taken_out() {
    let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7\n-----END PRIVATE KEY-----\n";
    let account = serde_json::to_string_pretty(&serde_json::json!({"type": "service_account", "private_key": key}));
    let account = account.unwrap();
    let redaction = hidden(&account);
    for (what, printed) in [
        ("as it is", account.clone()),
        ("as a text of JSON", json(&account)),
        ("twice", json(&json(&account))),
        ("its key alone", key.to_owned()),
        ("its key in JSON", json(key)),
        ("in base 64", STANDARD.encode(&account)),
        ("in base 64 of URLs", URL_SAFE.encode(&account)),
        ("in lines of base 64", broken(&STANDARD.encode(&account), 76).join("\n")),
    ] {
        let shown = redaction.redacted(&printed);
        assert!(!shown.contains("MIIE") && !shown.contains("YWNj") && !shown.contains("PRIVATE"), "{what}: {shown}");
    }
}

/// As large as a Secret may be. Lines are looked through one by one, and an image's build prints some ten thousand.
#[test]
fn the_largest_value_is_taken_out() {
    let line = "0123456789 abcdef-".repeat(3);
    let value: String = (0..18_000).map(|number| format!("{line}{number}\n")).collect::<Vec<_>>().concat();
    let redaction = hidden(&value);
    assert_eq!(redaction.redacted(&format!("got {line}17999, once")), "got ***, once");
}

/// Of no other character there are as many forms.
#[test]
fn a_value_of_quotes_is_taken_out() {
    for value in ["'".repeat(LONGEST_PIECE), "\"".repeat(LONGEST_PIECE), "€".repeat(LONGEST_PIECE)] {
        assert_eq!(hidden(&value).redacted(&format!("at <{}>", json(&value))), "at <***>");
    }
}

proptest! {
    /// However often it is quoted, and by whom.
    #[test]
    fn a_value_is_found_in_all_its_forms(
        value in r"[!-~äß€😀][ -~äß€😀]{2,30}[!-~äß€😀]",
        order in proptest::collection::vec(0..ENCODINGS.len(), 0..4),
    ) {
        let printed = order.iter().fold(value.clone(), |text, number| ENCODINGS[*number].1(&text));
        let by: Vec<_> = order.iter().map(|number| ENCODINGS[*number].0).collect();
        prop_assert_eq!(hidden(&value).redacted(&format!("at <{printed}>")), "at <***>", "{:?}: {}", by, printed);
    }

    #[test]
    fn a_value_is_found_in_base_64(
        value in "[ -~]{6,200}", before in "[ -~]{0,5}", behind in "[ -~]{0,5}", web in proptest::bool::ANY,
    ) {
        let whole = format!("{before}{value}{behind}");
        let code = if web { URL_SAFE.encode(&whole) } else { STANDARD.encode(&whole) };
        let shown = hidden(&value).redacted(&code);
        let left = (before.len() + behind.len()) * 4 / 3 + 8;
        prop_assert!(shown.contains(MASK) && shown.len() <= left, "{}: {}", code, shown);
    }
}
