//! Encodings that a searched text may have in the log: UTF-16 and Base64, as Sigma's modifiers name them.

use data_encoding::BASE64;

/// One step of an encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `utf16le` or `wide`: two bytes a character, the lower first.
    Utf16Le,
    /// `utf16be`: the higher first.
    Utf16Be,
    /// `utf16`: a byte order mark, then as `utf16le`.
    Utf16,
    /// `base64`: the text alone, encoded.
    Base64,
    /// `base64offset`: what stands in an encoding of a longer text, for each of the three places where it may begin.
    Base64Offset,
}

/// The texts to look for after all steps; more than one after `base64offset`.
pub fn encoded(text: &str, steps: &[Encoding]) -> Vec<String> {
    let mut bytes = text.as_bytes().to_vec();
    for step in steps {
        match step {
            Encoding::Utf16Le => bytes = utf16(&bytes, u16::to_le_bytes),
            Encoding::Utf16Be => bytes = utf16(&bytes, u16::to_be_bytes),
            Encoding::Utf16 => bytes = [vec![0xff, 0xfe], utf16(&bytes, u16::to_le_bytes)].concat(),
            Encoding::Base64 => return vec![BASE64.encode(&bytes)],
            Encoding::Base64Offset => return (0..3).map(|offset| at_offset(&bytes, offset)).collect(),
        }
    }
    vec![String::from_utf8_lossy(&bytes).into_owned()]
}

fn utf16(bytes: &[u8], order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    String::from_utf8_lossy(bytes).encode_utf16().flat_map(order).collect()
}

/// The characters that the text alone decides when `offset` unknown bytes stand before it and any after it.
fn at_offset(bytes: &[u8], offset: usize) -> String {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(bytes);
    let all = BASE64.encode(&padded);
    let start = [0, 2, 3][offset];
    let whole = padded.len() / 3 * 4;
    let end = whole + [0, 1, 2][padded.len() % 3];
    all.get(start..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_in_the_encoding_of_any_longer_text_is_found() {
        for word in ["a", "ab", "abc", "http://", "IEX (New-Object", "Straße"] {
            for (before, after) in [("", ""), ("x", "y"), ("xy", "zz"), ("xyz", "q"), ("0123", "45678")] {
                let whole = BASE64.encode(format!("{before}{word}{after}").as_bytes());
                let parts = encoded(word, &[Encoding::Base64Offset]);
                assert!(whole.contains(&parts[before.len() % 3]), "{word} in {whole}: {parts:?}");
            }
        }
        assert_eq!(encoded("foobar", &[Encoding::Base64Offset]), ["Zm9vYmFy", "Zvb2Jhc", "mb29iYX"]);
    }

    #[test]
    fn steps_follow_one_another() {
        assert_eq!(encoded("cmd", &[Encoding::Base64]), ["Y21k"]);
        assert_eq!(encoded("cmd", &[Encoding::Utf16Le, Encoding::Base64]), ["YwBtAGQA"]);
        assert_eq!(encoded("cmd", &[Encoding::Utf16Be, Encoding::Base64]), ["AGMAbQBk"]);
        assert_eq!(encoded("cmd", &[Encoding::Utf16, Encoding::Base64]), ["//5jAG0AZAA="]);
    }
}
