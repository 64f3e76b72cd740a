//! The place in the text, one token of lookahead, and what every part of the grammar is made of.

use std::borrow::Cow;
use std::mem;

use super::super::lexer::{Lexer, Token};
use crate::error::{Error, Result};

/// Types and graphs nested deeper are no model.
const MAX_DEPTH: usize = 64;

/// A place in the text.
pub(super) struct Cursor<'a> {
    lexer: Lexer<'a>,
    token: Token<'a>,
    offset: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self> {
        let mut lexer = Lexer::new(text);
        let (token, offset) = lexer.next()?;
        Ok(Self { lexer, token, offset, depth: 0 })
    }

    /// The token that is next.
    pub(super) fn peek(&self) -> &Token<'a> {
        &self.token
    }

    /// Where the next token begins.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Result<Token<'a>> {
        let (token, offset) = self.lexer.next()?;
        self.offset = offset;
        Ok(mem::replace(&mut self.token, token))
    }

    /// An error at the next token: `expected` was not there.
    pub(super) fn expected<T>(&self, expected: impl Into<String>) -> Result<T> {
        Err(self.error_at(self.offset, "cannot parse the text").expected(expected).found(self.token.describe()))
    }

    /// An error at an offset.
    pub(super) fn error_at(&self, offset: usize, what: &str) -> Error {
        self.lexer.error(offset, what)
    }

    /// Takes the character if it is next.
    pub(super) fn take(&mut self, c: char) -> Result<bool> {
        let is_next = self.token == Token::Punct(c);
        if is_next {
            self.next()?;
        }
        Ok(is_next)
    }

    /// Takes the character, which must be next.
    pub(super) fn expect(&mut self, c: char) -> Result<()> {
        if self.take(c)? { Ok(()) } else { self.expected(format!("`{c}`")) }
    }

    /// Takes `=>`.
    pub(super) fn arrow(&mut self) -> Result<()> {
        if self.token != Token::Arrow {
            return self.expected("`=>`");
        }
        self.next().map(drop)
    }

    /// Takes a word.
    pub(super) fn identifier(&mut self, what: &str) -> Result<&'a str> {
        let Token::Ident(word) = self.token else { return self.expected(what) };
        self.next()?;
        Ok(word)
    }

    /// Takes a word or a quoted name.
    pub(super) fn name(&mut self, what: &str) -> Result<String> {
        if !matches!(self.token, Token::Ident(_) | Token::Str(_)) {
            return self.expected(what);
        }
        Ok(match self.next()? {
            Token::Str(name) => name.into_owned(),
            Token::Ident(name) => name.to_owned(),
            _ => String::new(),
        })
    }

    /// Takes a quoted string.
    pub(super) fn string(&mut self) -> Result<String> {
        let Token::Str(text) = &mut self.token else { return self.expected("a quoted string") };
        let text = mem::take(text);
        self.next()?;
        Ok(Cow::into_owned(text))
    }

    /// Takes a whole number that fits 64 bits.
    pub(super) fn integer(&mut self) -> Result<i64> {
        let Token::Number(text) = self.token else { return self.expected("a whole number") };
        let Ok(value) = text.parse() else { return self.expected("a whole number of at most 64 bits") };
        self.next()?;
        Ok(value)
    }

    /// Takes a list: an opening character, items with commas between, a closing character.
    pub(super) fn list<T>(
        &mut self,
        open: char,
        close: char,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.expect(open)?;
        let mut items = Vec::new();
        if self.take(close)? {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.take(',')? {
                continue;
            }
            if self.take(close)? {
                return Ok(items);
            }
            return self.expected(format!("`,` or `{close}`"));
        }
    }

    /// Runs a part of the grammar that may contain itself.
    pub(super) fn nested<T>(&mut self, part: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error_at(self.offset, &format!("nested more than {MAX_DEPTH} deep")));
        }
        self.depth += 1;
        let result = part(self);
        self.depth -= 1;
        result
    }
}
