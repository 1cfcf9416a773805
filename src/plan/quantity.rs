//! Amounts of processor time, memory and disk, as Kubernetes writes them.

/// A quantity in thousandths, since Kubernetes' smallest common suffix is `m`. What is below one is dropped; `None` is
/// what is no quantity, or too large.
#[must_use]
pub fn thousandths(text: &str) -> Option<u64> {
    let (digits, suffix) = text.split_at(text.find(|letter: char| letter.is_ascii_alphabetic()).unwrap_or(text.len()));
    let number = in_thousandths(digits)?;
    let unit: u128 = match suffix {
        "n" => return u64::try_from(number / 1_000_000_000).ok(),
        "u" => return u64::try_from(number / 1_000_000).ok(),
        "m" => 1,
        "" => 1000,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "P" => 1_000_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        "Pi" => 1000 << 50,
        _ => return None,
    };
    u64::try_from(number.checked_mul(unit)? / 1000).ok()
}

/// A decimal number of up to three decimal places, in thousandths.
fn in_thousandths(digits: &str) -> Option<u128> {
    let (whole, places) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(places) || places.len() > 3 {
        return None;
    }
    Some(u128::from(whole.parse::<u64>().ok()?) * 1000 + format!("{places:0<3}").parse::<u128>().ok()?)
}

/// Thousandths as people write them: whole ones, or with `m`.
#[must_use]
pub fn shown(thousandths: u64) -> String {
    if thousandths.is_multiple_of(1000) { (thousandths / 1000).to_string() } else { format!("{thousandths}m") }
}

/// Bytes with the largest suffix that loses nothing, as the API server writes them back.
#[must_use]
pub fn shown_bytes(amount: u64) -> String {
    let suffixes = [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)];
    let exact = suffixes.into_iter().find(|(_, bits)| amount > 0 && amount.is_multiple_of(1 << bits));
    exact.map_or_else(|| amount.to_string(), |(suffix, bits)| format!("{}{suffix}", amount >> bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_the_api_server_writes_them() {
        let cases = [
            ("0", Some(0)),
            ("1800m", Some(1800)),
            ("2", Some(2000)),
            ("12345678n", Some(12)),
            ("1500u", Some(1)),
            ("1k", Some(1_000_000)),
            ("16393292Ki", Some(16_393_292_000 << 10)),
            ("40Gi", Some(40_000 << 30)),
            ("1Pi", Some(1000 << 50)),
            ("99999999999P", None),
            ("1.5", Some(1500)),
            ("0.25Gi", Some(250 << 30)),
            ("1.0005", None),
            ("1.", None),
            (".5", None),
            ("1.5.5", None),
            ("-1", None),
            ("1e3", None),
            ("", None),
            ("Gi", None),
        ];
        for (text, expected) in cases {
            assert_eq!(thousandths(text), expected, "{text}");
        }
    }

    #[test]
    fn amounts_are_shown_as_short_as_they_can_be() {
        assert_eq!([shown(1800), shown(2000), shown(0)], ["1800m", "2", "0"]);
        let bytes = [8 << 30, 1536 << 20, 1000, 0];
        assert_eq!(bytes.map(shown_bytes), ["8Gi", "1536Mi", "1000", "0"]);
    }
}
