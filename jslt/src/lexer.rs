//! Splits the text of a script into words.
//!
//! The longest word wins, which has a consequence worth knowing: `-` is a character of names, so
//! `a-b` is one name and `1-2` is one, too. Subtraction needs spaces.

use crate::error::{CompileError, Position};
use crate::token::{Token, TokenKind};

/// Reads words one by one.
#[derive(Debug)]
pub(crate) struct Lexer<'t> {
    text: &'t str,
    offset: usize,
    position: Position,
}

/// Letters beyond ASCII that names may have: the Latin ones of common use.
fn is_latin_letter(c: char) -> bool {
    matches!(c, '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{17F}')
}

fn is_name_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-') || is_latin_letter(c)
}

/// The number of bytes at the start of `text` that form a number, and whether it has a fraction
/// or an exponent.
fn scan_number(text: &str) -> Option<(usize, bool)> {
    let bytes = text.as_bytes();
    let digits_from = |start: usize| {
        let count = bytes[start.min(bytes.len())..].iter().take_while(|b| b.is_ascii_digit()).count();
        start + count
    };
    let start = usize::from(bytes.first() == Some(&b'-'));
    let mut end = match bytes.get(start) {
        Some(b'0') => start + 1,
        Some(b'1'..=b'9') => digits_from(start),
        _ => return None,
    };
    let mut decimal = false;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits_from(end + 1);
        if fraction > end + 1 {
            end = fraction;
            decimal = true;
        }
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let digits = end + 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits_from(digits);
        if exponent > digits {
            end = exponent;
            decimal = true;
        }
    }
    Some((end, decimal))
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, offset: 0, position: Position { line: 1, column: 1 } }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.offset..]
    }

    /// Steps over the next `bytes` bytes, keeping the position right.
    fn advance(&mut self, bytes: usize) {
        let text = self.text;
        for c in text[self.offset..self.offset + bytes].chars() {
            if c == '\n' {
                self.position.line += 1;
                self.position.column = 1;
            } else {
                self.position.column += 1;
            }
        }
        self.offset += bytes;
    }

    /// Steps over white space and comments; tells whether there was any.
    fn skip_blanks(&mut self) -> bool {
        let start = self.offset;
        loop {
            let rest = self.rest();
            let blank = rest.bytes().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r' | 0x0C)).count();
            let length = if blank > 0 {
                blank
            } else if rest.starts_with("//") {
                rest.find(['\n', '\r']).unwrap_or(rest.len())
            } else {
                return self.offset > start;
            };
            self.advance(length);
        }
    }

    /// The next word; [`TokenKind::End`] after the last.
    pub(crate) fn next(&mut self) -> Result<Token, CompileError> {
        let adjacent = !self.skip_blanks();
        let position = self.position;
        let (kind, length) = self.scan(position)?;
        self.advance(length);
        Ok(Token { kind, position, adjacent })
    }

    fn scan(&self, position: Position) -> Result<(TokenKind, usize), CompileError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok((TokenKind::End, 0));
        };
        if first == '"' {
            return self.scan_string(position);
        }
        if first == '$' {
            let name: String = rest[1..].chars().take_while(|c| is_name_character(*c)).collect();
            if name.is_empty() {
                return Err(CompileError::expected_at(position, "a variable's name after '$'", "'$'"));
            }
            let length = 1 + name.len();
            return Ok((TokenKind::Variable(name), length));
        }
        if is_name_character(first) {
            return Self::scan_word(rest, position);
        }
        let (kind, length) = match (first, rest[first.len_utf8()..].chars().next()) {
            ('=', Some('=')) => (TokenKind::Equal, 2),
            ('!', Some('=')) => (TokenKind::NotEqual, 2),
            ('<', Some('=')) => (TokenKind::LessOrEqual, 2),
            ('>', Some('=')) => (TokenKind::GreaterOrEqual, 2),
            ('=', _) => (TokenKind::Assign, 1),
            ('<', _) => (TokenKind::Less, 1),
            ('>', _) => (TokenKind::Greater, 1),
            ('[', _) => (TokenKind::LeftBracket, 1),
            (']', _) => (TokenKind::RightBracket, 1),
            ('{', _) => (TokenKind::LeftBrace, 1),
            ('}', _) => (TokenKind::RightBrace, 1),
            ('(', _) => (TokenKind::LeftParen, 1),
            (')', _) => (TokenKind::RightParen, 1),
            (',', _) => (TokenKind::Comma, 1),
            (':', _) => (TokenKind::Colon, 1),
            ('.', _) => (TokenKind::Dot, 1),
            ('+', _) => (TokenKind::Plus, 1),
            ('*', _) => (TokenKind::Star, 1),
            ('/', _) => (TokenKind::Slash, 1),
            ('|', _) => (TokenKind::Pipe, 1),
            _ => {
                return Err(CompileError::new(position, format!("Unexpected character {first:?}")));
            }
        };
        Ok((kind, length))
    }

    /// A number, a keyword or a name: all three are made of the characters of names.
    fn scan_word(rest: &str, position: Position) -> Result<(TokenKind, usize), CompileError> {
        let name = &rest[..rest.find(|c| !is_name_character(c)).unwrap_or(rest.len())];
        if let Some((length, decimal)) = scan_number(rest)
            && length >= name.len()
        {
            let text = &rest[..length];
            let kind = if decimal {
                text.parse().ok().filter(|value: &f64| value.is_finite()).map(TokenKind::Decimal)
            } else {
                text.parse().ok().map(TokenKind::Integer)
            };
            return match kind {
                Some(kind) => Ok((kind, length)),
                None => Err(CompileError::new(position, format!("The number {text} is out of range"))),
            };
        }
        let kind = match name {
            "-" => TokenKind::Minus,
            "null" => TokenKind::Null,
            "true" => TokenKind::True,
            "false" => TokenKind::False,
            "or" => TokenKind::Or,
            "and" => TokenKind::And,
            "if" => TokenKind::If,
            "else" => TokenKind::Else,
            "let" => TokenKind::Let,
            "for" => TokenKind::For,
            "def" => TokenKind::Def,
            "import" => TokenKind::Import,
            "as" => TokenKind::As,
            _ => TokenKind::Identifier(name.to_owned()),
        };
        Ok((kind, name.len()))
    }

    fn scan_string(&self, start: Position) -> Result<(TokenKind, usize), CompileError> {
        let rest = self.rest();
        let mut value = String::new();
        let mut at = 1;
        loop {
            let tail = &rest[at..];
            let Some(plain) = tail.find(['"', '\\']) else {
                return Err(CompileError::new(start, "The string is not closed"));
            };
            value.push_str(&tail[..plain]);
            at += plain;
            if tail.as_bytes()[plain] == b'"' {
                return Ok((TokenKind::String(value), at + 1));
            }
            at += self.scan_escape(at, &mut value, start)?;
        }
    }

    /// Reads the escape sequence at `at`; returns its length.
    fn scan_escape(&self, at: usize, value: &mut String, start: Position) -> Result<usize, CompileError> {
        let tail = &self.rest()[at + 1..];
        let fault = |message: String| {
            let mut place = Self { text: self.text, offset: self.offset, position: self.position };
            place.advance(at);
            Err(CompileError::new(place.position, message))
        };
        let Some(c) = tail.chars().next() else {
            return Err(CompileError::new(start, "The string is not closed"));
        };
        value.push(match c {
            '"' | '\\' | '/' => c,
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{C}',
            'u' => {
                let unit = |text: &str| {
                    let digits = text.get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
                    u16::from_str_radix(digits, 16).ok()
                };
                let Some(high) = unit(&tail[1..]) else {
                    return fault("A Unicode escape needs four hexadecimal digits".to_owned());
                };
                // A character beyond the first 65,536 is written as two escapes.
                let low = tail.get(5..7).filter(|t| *t == "\\u").and_then(|_| unit(&tail[7..]));
                if let (0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) = (high, low) {
                    let code = 0x1_0000 + (u32::from(high - 0xD800) << 10) + u32::from(low - 0xDC00);
                    value.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    return Ok(12);
                }
                value.push(char::from_u32(u32::from(high)).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(6);
            }
            _ => return fault(format!("Unknown escape sequence: \\{c}")),
        });
        Ok(1 + c.len_utf8())
    }
}
