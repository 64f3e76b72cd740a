//! Traces that need no schema: names of users in paths, anywhere in a file.

/// Folders that hold a folder for each user.
const HOMES: &[&[u8]] = &[b"/home/", b"/Users/", b"\\Users\\", b"/Documents and Settings/"];

/// A name of a user that is longer is none.
const LONGEST_NAME: usize = 32;

/// The folders named after a user that bytes speak of, as far as the name goes; each place once.
pub(super) fn folders_of_users(bytes: &[u8]) -> impl Iterator<Item = String> {
    let starts = bytes.iter().enumerate().filter(|(_, byte)| matches!(**byte, b'/' | b'\\'));
    starts.filter_map(|(at, _)| {
        let rest = &bytes[at..];
        let home = HOMES.iter().find(|home| rest.starts_with(home))?;
        let name = &rest[home.len()..];
        let length = name.iter().take(LONGEST_NAME).take_while(|byte| is_of_name(**byte)).count();
        // Weights look like text by chance: a name has two characters at least.
        (length >= 2).then(|| String::from_utf8_lossy(&rest[..home.len() + length]).into_owned())
    })
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_users_and_nothing_else() {
        let found = |text: &[u8]| folders_of_users(text).collect::<Vec<_>>();
        assert_eq!(found(b"\0File \"/home/ann.b/x.py\" C:\\Users\\Bo\\y"), ["/home/ann.b", "\\Users\\Bo"]);
        assert_eq!(found(b"/home/ /homes/x /Users/? /encoder/home"), [""; 0]);
    }
}
