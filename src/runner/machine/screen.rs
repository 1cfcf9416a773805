//! What the screen of a machine shows: most boxes print nothing on a serial console, and the firmware never does.

use std::{fs, io, path::Path};

use super::qmp::Qmp;

/// The width and height of a screen that shows 80 × 25 letters.
const LETTERS: (u32, u32) = (720, 400);
/// Where the letters of a card are, each with its colour.
const MEMORY: u32 = 0xb8000;
const LINES: usize = 25;
const COLUMNS: usize = 80;
/// What a PNG begins with.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What a screen shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Screen {
    /// Letters: these are the lines that are not empty.
    Text(String),
    /// A picture, as PNG.
    Picture(Vec<u8>),
}

/// Looks at the screen. The picture of it is in the file then, also where it shows text. `None`: it cannot be seen.
pub(super) async fn look(qmp: &mut Qmp, file: &Path) -> Option<Screen> {
    qmp.picture(file).await.ok()?;
    let picture = fs::read(file).ok()?;
    if size(&picture)? == LETTERS
        && let Ok(memory) = letters(qmp).await
    {
        return Some(Screen::Text(text(&memory)));
    }
    Some(Screen::Picture(picture))
}

/// What the visible part of the card's memory holds. Linux moves that part on, rather than the content: two registers say
/// where it begins, in letters. That they are asked for may move the cursor of a guest that writes at that moment.
async fn letters(qmp: &mut Qmp) -> io::Result<String> {
    let [mut high, mut low] = [0, 0];
    for (register, value) in [("0xc", &mut high), ("0xd", &mut low)] {
        let answer = qmp.monitor(&format!("i /xb 0x3d4.{register}")).await?;
        *value = register_value(&answer).ok_or_else(|| io::Error::other(answer))?;
    }
    let begin = MEMORY + 2 * u32::from(u16::from_be_bytes([high, low]));
    qmp.monitor(&format!("xp /{}xh {begin:#x}", LINES * COLUMNS)).await
}

/// The value in `portb[0x03d5] = 0x3f`.
fn register_value(answer: &str) -> Option<u8> {
    let (_, value) = answer.trim().split_once(" = 0x")?;
    u8::from_str_radix(value, 16).ok()
}

/// The width and height of a PNG: the first that it says.
fn size(picture: &[u8]) -> Option<(u32, u32)> {
    let header = picture.strip_prefix(SIGNATURE)?.get(8..16)?;
    let (width, height) = header.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*width), u32::from_be_bytes(height.try_into().ok()?)))
}

/// The lines in the memory of a card.
fn text(memory: &str) -> String {
    let words = memory.lines().filter_map(|line| line.split_once(':')).flat_map(|(_, words)| words.split_whitespace());
    let letters: Vec<char> = words.map(letter).collect();
    let lines = letters.chunks(COLUMNS).map(|line| line.iter().collect::<String>().trim_end().to_owned());
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The letter of a word: the code is its lower half. Of what is not ASCII there is frames and accents.
fn letter(word: &str) -> char {
    let word = word.strip_prefix("0x").and_then(|digits| u16::from_str_radix(digits, 16).ok());
    let [code, _colour] = word.unwrap_or_default().to_le_bytes();
    if code.is_ascii_graphic() { char::from(code) } else { ' ' }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_from_the_memory_of_the_card() {
        // As qemu 7.2 writes it.
        let empty = |count| " 0x0720".repeat(count);
        let memory = [
            "00000000000b8000: 0x0753 0x0765 0x0761 0x0742 0x0749 0x074f 0x0753 0x0720\r\n".to_owned(),
            format!("00000000000b8010:{}\r\n", empty(72)),
            format!("00000000000b80a0:{}\r\n", empty(80)),
            "00000000000b8140: 0x074e 0x076f 0x0720 0x07cd 0x0764".to_owned(),
        ]
        .concat();
        assert_eq!(text(&memory), "SeaBIOS\nNo  d");
    }

    #[test]
    fn a_register_has_a_value() {
        assert_eq!(register_value("portb[0x03d5] = 0x3f\r\n"), Some(0x3f));
        assert_eq!((register_value("unknown command: 'i'\r\n"), register_value("")), (None, None));
    }

    #[test]
    fn a_picture_says_its_size() {
        let mut picture = SIGNATURE.to_vec();
        picture.extend(b"\x00\x00\x00\x0dIHDR\x00\x00\x02\xd0\x00\x00\x01\x90\x08\x02");
        assert_eq!(size(&picture), Some(LETTERS));
        assert_eq!((size(b"P6 720 400"), size(SIGNATURE)), (None, None));
    }
}
