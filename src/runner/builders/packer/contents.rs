//! What is in a template that packer must not see: plugins that it asks for and that this packer has built in, and
//! post-processors that publish what nobody has tested.

mod found;
mod hcl;
mod json;

use self::found::mentions_upload;
pub(super) use self::found::{Contents, Parts};
use super::template::Kind;

/// Reads a file of a template. Packer says what is wrong with one that cannot be read.
pub(super) fn read(kind: Kind, text: &str) -> Contents {
    let found = match kind {
        Kind::Hcl => hcl::read(text),
        Kind::HclJson => json::read_hcl(text),
        Kind::Json => json::read_legacy(text),
    };
    found.unwrap_or_else(|| Contents { unclear: mentions_upload(text), ..Contents::default() })
}

/// The text without these parts. Lines stay where they are: packer's messages name them.
pub(super) fn without(text: &str, parts: &[&Parts]) -> String {
    let is_left_out = |at: usize| parts.iter().flat_map(|parts| &parts.ranges).any(|range| range.contains(&at));
    text.char_indices().filter(|(at, letter)| *letter == '\n' || !is_left_out(*at)).map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests;
