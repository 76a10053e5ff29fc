//! Reads the words of a script into a tree.

use serde_json::Value;

mod operators;

use crate::ast::{Branch, For, Function, Let, Link, Matcher, Module, Node, NodeKind, Object};
use crate::error::{CompileError, Position};
use crate::lexer::Lexer;
use crate::token::{Token, TokenKind};

/// How deep brackets of all kinds may nest. The parser, the compiler and the interpreter recurse
/// over them.
const MAX_NESTING: u32 = 128;

type Parsed<T> = Result<T, CompileError>;

/// Parses a script.
pub(crate) fn parse(text: &str) -> Parsed<Module> {
    let mut lexer = Lexer::new(text);
    let current = lexer.next()?;
    let following = lexer.next()?;
    Parser { lexer, current, following, nesting: 0 }.module()
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    current: Token,
    following: Token,
    nesting: u32,
}

impl Parser<'_> {
    /// Moves on; returns the word that was current.
    fn advance(&mut self) -> Parsed<Token> {
        let next = self.lexer.next()?;
        let current = std::mem::replace(&mut self.following, next);
        Ok(std::mem::replace(&mut self.current, current))
    }

    fn at(&self, kind: &TokenKind) -> bool {
        self.current.kind == *kind
    }

    /// Steps over the word if it is the current one.
    fn accept(&mut self, kind: &TokenKind) -> Parsed<bool> {
        let found = self.at(kind);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, kind: &TokenKind, expected: &str) -> Parsed<()> {
        if self.accept(kind)? { Ok(()) } else { Err(self.unexpected(expected)) }
    }

    fn unexpected(&self, expected: &str) -> CompileError {
        // `5 -2` and `a -b`: the minus sign went to the word after it.
        let (hint, found) = match &self.current.kind {
            TokenKind::Integer(value) if *value < 0 => (true, value.to_string()),
            TokenKind::Identifier(name) if name.contains('-') => (true, name.clone()),
            _ => (false, String::new()),
        };
        if hint {
            let found = format!("'{found}' (a minus sign needs a space on both sides)");
            return CompileError::expected_at(self.current.position, expected, &found);
        }
        CompileError::expected_at(self.current.position, expected, &self.current.kind.to_string())
    }

    fn name(&mut self, expected: &str) -> Parsed<(String, Position)> {
        if let TokenKind::Identifier(name) = &mut self.current.kind {
            let name = std::mem::take(name);
            let position = self.advance()?.position;
            return Ok((name, position));
        }
        Err(self.unexpected(expected))
    }

    fn module(mut self) -> Parsed<Module> {
        let mut lets = Vec::new();
        let mut functions = Vec::new();
        loop {
            match self.current.kind {
                TokenKind::Import => return Err(self.no_modules()),
                TokenKind::Let => lets.push(self.let_declaration()?),
                TokenKind::Def => functions.push(self.function()?),
                _ => break,
            }
        }
        let body = self.expression()?;
        if self.at(&TokenKind::End) {
            Ok(Module { lets, functions, body })
        } else {
            Err(self.unexpected("an operator or the end of the script"))
        }
    }

    fn no_modules(&self) -> CompileError {
        CompileError::new(
            self.current.position,
            "Modules cannot be imported here: a script must stand on its own",
        )
    }

    fn let_declaration(&mut self) -> Parsed<Let> {
        self.advance()?;
        let (name, position) = self.name("a variable's name")?;
        self.expect(&TokenKind::Assign, "'='")?;
        Ok(Let { name, value: self.expression()?, position })
    }

    fn lets(&mut self) -> Parsed<Vec<Let>> {
        let mut lets = Vec::new();
        while self.at(&TokenKind::Let) {
            lets.push(self.let_declaration()?);
        }
        Ok(lets)
    }

    fn function(&mut self) -> Parsed<Function> {
        self.advance()?;
        let (name, _) = self.name("a function's name")?;
        self.expect(&TokenKind::LeftParen, "'('")?;
        let mut parameters = Vec::new();
        if !self.at(&TokenKind::RightParen) {
            parameters.push(self.name("a parameter's name or ')'")?);
            while self.accept(&TokenKind::Comma)? {
                parameters.push(self.name("a parameter's name")?);
            }
        }
        self.expect(&TokenKind::RightParen, "',' or ')'")?;
        Ok(Function { name, parameters, lets: self.lets()?, body: self.expression()? })
    }

    fn expression(&mut self) -> Parsed<Node> {
        if self.nesting >= MAX_NESTING {
            let message = format!("Expressions nest more than {MAX_NESTING} deep");
            return Err(CompileError::new(self.current.position, message));
        }
        self.nesting += 1;
        let node = self.binary();
        self.nesting -= 1;
        node
    }

    /// An expression without operators. What it recurses into is out of line, so that the frames
    /// of nested brackets stay small.
    fn primary(&mut self) -> Parsed<Node> {
        let position = self.current.position;
        match &self.current.kind {
            TokenKind::Dot => self.dot(position),
            TokenKind::Variable(_) => self.variable(position),
            TokenKind::Identifier(_) => self.call(position),
            TokenKind::LeftParen => self.parenthesis(),
            TokenKind::If => self.if_expression(position),
            TokenKind::LeftBracket => self.array(position),
            TokenKind::LeftBrace => self.object(position),
            TokenKind::Import => Err(self.no_modules()),
            _ => self.literal(position),
        }
    }

    fn literal(&mut self, position: Position) -> Parsed<Node> {
        let value = match &mut self.current.kind {
            TokenKind::Null => Value::Null,
            TokenKind::True => Value::Bool(true),
            TokenKind::False => Value::Bool(false),
            TokenKind::Integer(value) => Value::from(*value),
            TokenKind::Decimal(value) => Value::from(*value),
            TokenKind::String(value) => Value::String(std::mem::take(value)),
            _ => return Err(self.unexpected("an expression")),
        };
        self.advance()?;
        Ok(Node { kind: NodeKind::Literal(value), position })
    }

    fn variable(&mut self, position: Position) -> Parsed<Node> {
        let TokenKind::Variable(name) = &mut self.current.kind else {
            return Err(self.unexpected("a variable"));
        };
        let name = std::mem::take(name);
        self.advance()?;
        self.links(Node { kind: NodeKind::Variable(name), position })
    }

    fn parenthesis(&mut self) -> Parsed<Node> {
        self.advance()?;
        let node = self.expression()?;
        self.expect(&TokenKind::RightParen, "an operator or ')'")?;
        Ok(node.sealed())
    }

    /// A path that begins at the context.
    fn dot(&mut self, position: Position) -> Parsed<Node> {
        self.advance()?;
        let base = Node { kind: NodeKind::Context, position };
        match &mut self.current.kind {
            TokenKind::Identifier(key) | TokenKind::String(key) => {
                let first = Link::Key(std::mem::take(key));
                self.advance()?;
                self.links_after(base, vec![first])
            }
            _ => self.links(base),
        }
    }

    fn links(&mut self, base: Node) -> Parsed<Node> {
        self.links_after(base, Vec::new())
    }

    fn links_after(&mut self, base: Node, mut links: Vec<Link>) -> Parsed<Node> {
        loop {
            match self.current.kind {
                TokenKind::Dot => {
                    self.advance()?;
                    match &mut self.current.kind {
                        TokenKind::Identifier(key) | TokenKind::String(key) => {
                            links.push(Link::Key(std::mem::take(key)));
                            self.advance()?;
                        }
                        _ => return Err(self.unexpected("a key after '.'")),
                    }
                }
                TokenKind::LeftBracket => links.push(self.index()?),
                _ => break,
            }
        }
        if links.is_empty() {
            return Ok(base);
        }
        let position = base.position;
        Ok(Node { kind: NodeKind::Path { base: Box::new(base), links }, position })
    }

    fn index(&mut self) -> Parsed<Link> {
        let position = self.advance()?.position;
        if self.accept(&TokenKind::Colon)? {
            let to = self.expression()?;
            self.expect(&TokenKind::RightBracket, "']'")?;
            return Ok(Link::Slice(None, Some(to), position));
        }
        let from = self.expression()?;
        if !self.accept(&TokenKind::Colon)? {
            self.expect(&TokenKind::RightBracket, "':' or ']'")?;
            return Ok(Link::Index(from, position));
        }
        let to = if self.at(&TokenKind::RightBracket) { None } else { Some(self.expression()?) };
        self.expect(&TokenKind::RightBracket, "']'")?;
        Ok(Link::Slice(Some(from), to, position))
    }

    fn call(&mut self, position: Position) -> Parsed<Node> {
        let (name, _) = self.name("a function's name")?;
        if self.at(&TokenKind::Colon)
            && self.current.adjacent
            && self.following.adjacent
            && matches!(self.following.kind, TokenKind::Identifier(_))
        {
            let message = format!("No such module '{name}': modules cannot be imported here");
            return Err(CompileError::new(position, message));
        }
        if !self.at(&TokenKind::LeftParen) {
            let found = if name.contains('-')
                && name.trim_start_matches('-').starts_with(|c: char| c.is_ascii_digit())
            {
                format!("the name '{name}' (a minus sign needs a space on both sides)")
            } else {
                format!("the name '{name}' and {}", self.current.kind)
            };
            return Err(CompileError::expected_at(position, "a function call or another expression", &found));
        }
        self.advance()?;
        let mut arguments = Vec::new();
        if !self.at(&TokenKind::RightParen) {
            arguments.push(self.expression()?);
            while self.accept(&TokenKind::Comma)? {
                arguments.push(self.expression()?);
            }
        }
        self.expect(&TokenKind::RightParen, "',' or ')'")?;
        self.links(Node { kind: NodeKind::Call { name, arguments }, position })
    }

    fn condition(&mut self) -> Parsed<Node> {
        self.expect(&TokenKind::LeftParen, "'('")?;
        let node = self.expression()?;
        self.expect(&TokenKind::RightParen, "an operator or ')'")?;
        Ok(node)
    }

    /// `else if` adds a branch instead of a level, so that a long list of cases stays flat.
    fn if_expression(&mut self, position: Position) -> Parsed<Node> {
        let mut branches = Vec::new();
        let otherwise = loop {
            self.advance()?;
            let condition = self.condition()?;
            branches.push(Branch { condition, lets: self.lets()?, value: self.expression()? });
            if !self.accept(&TokenKind::Else)? {
                break None;
            }
            if !self.at(&TokenKind::If) {
                break Some(Box::new((self.lets()?, self.expression()?)));
            }
        };
        Ok(Node { kind: NodeKind::If { branches, otherwise }, position })
    }

    /// What follows `[for` and `{for`, up to the closing bracket.
    fn comprehension(&mut self, keyed: bool) -> Parsed<Box<For>> {
        self.advance()?;
        let source = self.condition()?;
        let lets = self.lets()?;
        let mut value = self.expression()?;
        let mut key = None;
        if keyed {
            self.expect(&TokenKind::Colon, "an operator or ':'")?;
            key = Some(std::mem::replace(&mut value, self.expression()?));
        }
        let condition = if self.accept(&TokenKind::If)? { Some(self.condition()?) } else { None };
        Ok(Box::new(For { source, lets, key, value, condition }))
    }

    fn array(&mut self, position: Position) -> Parsed<Node> {
        self.advance()?;
        if self.at(&TokenKind::For) {
            let comprehension = self.comprehension(false)?;
            self.expect(&TokenKind::RightBracket, "'if' or ']'")?;
            return Ok(Node { kind: NodeKind::ArrayFor(comprehension), position });
        }
        let mut elements = Vec::new();
        while !self.at(&TokenKind::RightBracket) {
            elements.push(self.expression()?);
            if !self.accept(&TokenKind::Comma)? {
                break;
            }
        }
        self.expect(&TokenKind::RightBracket, "',' or ']'")?;
        Ok(Node { kind: NodeKind::Array(elements), position })
    }

    fn object(&mut self, position: Position) -> Parsed<Node> {
        self.advance()?;
        if self.at(&TokenKind::For) {
            let comprehension = self.comprehension(true)?;
            self.expect(&TokenKind::RightBrace, "'if' or '}'")?;
            return Ok(Node { kind: NodeKind::ObjectFor(comprehension), position });
        }
        let lets = self.lets()?;
        let mut pairs = Vec::new();
        let mut matcher = None;
        while !self.at(&TokenKind::RightBrace) {
            if self.at(&TokenKind::Star) {
                matcher = Some(self.matcher()?);
                break;
            }
            let key = self.expression()?;
            self.expect(&TokenKind::Colon, "an operator or ':'")?;
            pairs.push((key, self.expression()?));
            if !self.accept(&TokenKind::Comma)? {
                break;
            }
        }
        let expected = if matcher.is_some() { "an operator or '}'" } else { "',' or '}'" };
        self.expect(&TokenKind::RightBrace, expected)?;
        Ok(Node { kind: NodeKind::Object(Box::new(Object { lets, pairs, matcher })), position })
    }

    fn matcher(&mut self) -> Parsed<Matcher> {
        let position = self.advance()?.position;
        let mut excluded = Vec::new();
        if self.accept(&TokenKind::Minus)? {
            loop {
                match &mut self.current.kind {
                    TokenKind::Identifier(key) | TokenKind::String(key) => excluded.push(std::mem::take(key)),
                    _ => return Err(self.unexpected("a key to leave out")),
                }
                self.advance()?;
                if !self.accept(&TokenKind::Comma)? {
                    break;
                }
            }
        }
        self.expect(&TokenKind::Colon, "':'")?;
        Ok(Matcher { excluded, value: self.expression()?, position })
    }
}
