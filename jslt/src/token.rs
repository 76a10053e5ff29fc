//! The words of the language.

use std::fmt;

use crate::error::Position;

/// A word and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) position: Position,
    /// No white space stands between this word and the one before.
    pub(crate) adjacent: bool,
}

/// What a word is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    Null,
    True,
    False,
    Integer(i64),
    Decimal(f64),
    String(String),
    Identifier(String),
    Variable(String),
    If,
    Else,
    Let,
    For,
    Def,
    Import,
    As,
    Or,
    And,
    LeftBracket,
    RightBracket,
    LeftBrace,
    RightBrace,
    LeftParen,
    RightParen,
    Comma,
    Colon,
    Dot,
    Assign,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Star,
    Slash,
    Pipe,
    End,
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Null => "'null'",
            Self::True => "'true'",
            Self::False => "'false'",
            Self::Integer(value) => return write!(f, "number {value}"),
            Self::Decimal(value) => return write!(f, "number {value:?}"),
            Self::String(_) => "a string",
            Self::Identifier(name) => return write!(f, "'{name}'"),
            Self::Variable(name) => return write!(f, "'${name}'"),
            Self::If => "'if'",
            Self::Else => "'else'",
            Self::Let => "'let'",
            Self::For => "'for'",
            Self::Def => "'def'",
            Self::Import => "'import'",
            Self::As => "'as'",
            Self::Or => "'or'",
            Self::And => "'and'",
            Self::LeftBracket => "'['",
            Self::RightBracket => "']'",
            Self::LeftBrace => "'{'",
            Self::RightBrace => "'}'",
            Self::LeftParen => "'('",
            Self::RightParen => "')'",
            Self::Comma => "','",
            Self::Colon => "':'",
            Self::Dot => "'.'",
            Self::Assign => "'='",
            Self::Equal => "'=='",
            Self::NotEqual => "'!='",
            Self::Less => "'<'",
            Self::LessOrEqual => "'<='",
            Self::Greater => "'>'",
            Self::GreaterOrEqual => "'>='",
            Self::Plus => "'+'",
            Self::Minus => "'-'",
            Self::Star => "'*'",
            Self::Slash => "'/'",
            Self::Pipe => "'|'",
            Self::End => "the end of the script",
        };
        f.write_str(text)
    }
}
