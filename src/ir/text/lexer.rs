//! Text to tokens.

use std::borrow::Cow;

use crate::error::{Error, Result};

/// A token; it borrows from the text as long as nothing had to be unescaped.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'a> {
    /// A word of letters, digits and `_` that does not begin with a digit.
    Ident(&'a str),
    /// A quoted string.
    Str(Cow<'a, str>),
    /// A quoted byte string: `b"..."`.
    Bytes(Vec<u8>),
    /// A number with its sign, as it stands in the text: decimal, hexadecimal, `-inf` or `-nan`.
    Number(&'a str),
    /// The hash that stands for data left out: `#` and 16 hexadecimal digits.
    Hash(&'a str),
    /// `=>`.
    Arrow,
    /// Any other character.
    Punct(char),
    /// The end of the text.
    End,
}

impl Token<'_> {
    /// The token as an error shows it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Ident(text) | Self::Number(text) => format!("`{text}`"),
            Self::Str(text) => format!("the string \"{}\"", text.chars().take(40).collect::<String>()),
            Self::Bytes(_) => "a byte string".to_owned(),
            Self::Hash(digits) => format!("`#{digits}`"),
            Self::Arrow => "`=>`".to_owned(),
            Self::Punct(c) => format!("`{c}`"),
            Self::End => "the end of the text".to_owned(),
        }
    }
}

/// Whether a name can stand in the text without quotes.
pub(super) fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.bytes().all(is_word)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Digits of a hash.
const HASH_DIGITS: usize = 16;

/// Cuts a text into tokens.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next token and the offset where it begins.
    pub(super) fn next(&mut self) -> Result<(Token<'a>, usize)> {
        self.skip_blanks();
        let start = self.at;
        let Some(first) = self.byte(0) else { return Ok((Token::End, start)) };
        let token = match first {
            b'"' => Token::Str(self.string(start)?),
            b'b' if self.byte(1) == Some(b'"') => Token::Bytes(self.byte_string(start)?),
            b'#' => {
                self.at += 1 + HASH_DIGITS;
                Token::Hash(&self.text[start + 1..self.at])
            }
            b'=' if self.byte(1) == Some(b'>') => {
                self.at += 2;
                Token::Arrow
            }
            b'0'..=b'9' => self.number(start),
            b'-' if self.byte(1).is_some_and(|b| b.is_ascii_alphanumeric()) => {
                self.at += 1;
                self.number(start)
            }
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                self.skip_while(is_word);
                Token::Ident(&self.text[start..self.at])
            }
            _ => {
                let c = self.text[start..].chars().next().unwrap_or(' ');
                self.at += c.len_utf8();
                Token::Punct(c)
            }
        };
        Ok((token, start))
    }

    /// An error at an offset of the text.
    pub(super) fn error(&self, at: usize, what: &str) -> Error {
        let before = &self.text[..at.min(self.text.len())];
        let line = before.bytes().filter(|&b| b == b'\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Error::invalid_model(format!("{what} at line {line}, column {column}"))
    }

    fn byte(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.at + ahead).copied()
    }

    fn skip_while(&mut self, accept: impl Fn(u8) -> bool) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|&b| !accept(b)).unwrap_or(rest.len());
    }

    /// White space and comments. `#` begins a comment as in ONNX, unless a hash follows.
    fn skip_blanks(&mut self) {
        loop {
            self.skip_while(|b| b.is_ascii_whitespace() || b == b'\x0b');
            match (self.byte(0), self.byte(1)) {
                (Some(b'/'), Some(b'/')) => self.skip_while(|b| b != b'\n'),
                (Some(b'#'), _) if !self.at_hash() => self.skip_while(|b| b != b'\n'),
                _ => return,
            }
        }
    }

    fn at_hash(&self) -> bool {
        let rest = &self.text.as_bytes()[self.at + 1..];
        rest.iter().take_while(|&&b| is_word(b)).count() == HASH_DIGITS
            && rest[..HASH_DIGITS].iter().all(u8::is_ascii_hexdigit)
    }

    /// A number from the first digit or letter on; the sign, where there is one, stands before.
    fn number(&mut self, start: usize) -> Token<'a> {
        if self.byte(0) == Some(b'0') && self.byte(1) == Some(b'x') {
            self.at += 2;
            self.skip_while(|b| b.is_ascii_hexdigit());
        } else if self.byte(0).is_some_and(|b| b.is_ascii_alphabetic()) {
            self.skip_while(|b| b.is_ascii_alphabetic());
        } else {
            self.skip_while(|b| b.is_ascii_digit());
            if self.byte(0) == Some(b'.') {
                self.at += 1;
                self.skip_while(|b| b.is_ascii_digit());
            }
            if matches!(self.byte(0), Some(b'e' | b'E')) {
                self.at += 1;
                if matches!(self.byte(0), Some(b'+' | b'-')) {
                    self.at += 1;
                }
                self.skip_while(|b| b.is_ascii_digit());
            }
        }
        Token::Number(&self.text[start..self.at])
    }

    /// A string: a backslash takes the next character as it is.
    fn string(&mut self, start: usize) -> Result<Cow<'a, str>> {
        self.at += 1;
        let body = self.at;
        let mut unescaped: Option<String> = None;
        loop {
            let plain = self.at;
            self.skip_while(|b| b != b'"' && b != b'\\');
            if let Some(text) = &mut unescaped {
                text.push_str(&self.text[plain..self.at]);
            }
            match self.byte(0) {
                None => return Err(self.unclosed(start)),
                Some(b'"') => {
                    let end = self.at;
                    self.at += 1;
                    return Ok(unescaped.map_or(Cow::Borrowed(&self.text[body..end]), Cow::Owned));
                }
                Some(_) => {
                    let text = unescaped.get_or_insert_with(|| self.text[body..self.at].to_owned());
                    let c = self.text[self.at + 1..].chars().next();
                    let Some(c) = c else { return Err(self.unclosed(start)) };
                    text.push(c);
                    self.at += 1 + c.len_utf8();
                }
            }
        }
    }

    /// A byte string: `\xHH` is a byte, a backslash before anything else takes it as it is.
    fn byte_string(&mut self, start: usize) -> Result<Vec<u8>> {
        self.at += 2;
        let mut bytes = Vec::new();
        loop {
            match self.byte(0) {
                None => return Err(self.unclosed(start)),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(bytes);
                }
                Some(b'\\') if self.byte(1) == Some(b'x') => {
                    let digits = self.text.get(self.at + 2..self.at + 4).unwrap_or_default();
                    let byte = u8::from_str_radix(digits, 16).map_err(|_| {
                        self.error(self.at, "bad escape in a byte string")
                            .expected("two hexadecimal digits after `\\x`")
                    })?;
                    bytes.push(byte);
                    self.at += 4;
                }
                Some(b'\\') => {
                    let Some(byte) = self.byte(1) else { return Err(self.unclosed(start)) };
                    bytes.push(byte);
                    self.at += 2;
                }
                Some(byte) => {
                    bytes.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn unclosed(&self, start: usize) -> Error {
        self.error(start, "a string without end").expected("a closing `\"`").found("the end of the text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<Token<'_>> {
        let mut lexer = Lexer::new(text);
        let mut found = Vec::new();
        loop {
            match lexer.next().unwrap().0 {
                Token::End => return found,
                token => found.push(token),
            }
        }
    }

    #[test]
    fn skips_both_kinds_of_comment() {
        assert_eq!(tokens("a // b\n# c\nd"), [Token::Ident("a"), Token::Ident("d")]);
    }

    #[test]
    fn tells_a_hash_from_a_comment() {
        assert_eq!(tokens("#0123456789abcdef,"), [Token::Hash("0123456789abcdef"), Token::Punct(',')]);
        assert_eq!(tokens("#0123456789abcdef0\n#0123456789abcdeg"), []);
    }

    #[test]
    fn reads_numbers_with_sign_and_exponent() {
        let numbers = ["-1", "2.5e-3", "1.", "0x7f", "-inf", "7"];
        assert_eq!(tokens(&numbers.join(" ")), numbers.map(Token::Number));
    }

    #[test]
    fn unescapes_as_onnx_does() {
        assert_eq!(tokens(r#""a\"b\\n\n""#), [Token::Str("a\"b\\nn".into())]);
        assert_eq!(tokens(r#"b"\xff\\x""#), [Token::Bytes(vec![0xff, b'\\', b'x'])]);
    }

    #[test]
    fn places_errors_by_line_and_column() {
        let error = Lexer::new("ab\n \"é").next().and_then(|_| Err::<(), _>(Lexer::new("ab\n \"é").error(5, "x")));
        assert_eq!(error.unwrap_err().what(), "x at line 2, column 3");
    }
}
