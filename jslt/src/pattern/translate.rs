//! From Java's syntax of regular expressions to that of the `regex` crate.

/// Rewrites a pattern from Java's syntax to that of the `regex` crate.
pub(super) struct Translator<'t> {
    text: &'t str,
    at: usize,
    out: String,
    /// How many character classes are open.
    classes: u32,
    /// The pattern sets the flag by which a dot matches line ends, too.
    dot_all: bool,
    /// What was written last is a quantifier.
    quantified: bool,
    /// How many quantifiers without an upper bound there were.
    unbounded: u32,
    /// Where the last of them ended.
    unbounded_end: usize,
    /// There are groups or alternatives.
    branched: bool,
}

type Translation<T> = Result<T, String>;

/// What ends a line for Java's dot.
const NOT_LINE_END: &str = r"[^\n\r\u{85}\u{2028}\u{2029}]";

impl<'t> Translator<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            out: String::with_capacity(text.len() + 16),
            classes: 0,
            dot_all: false,
            quantified: false,
            unbounded: 0,
            unbounded_end: 0,
            branched: false,
        }
    }

    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn accept(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    /// The pattern in the crate's syntax, and whether a search with it stays near its match: it does
    /// if nothing is unbounded but perhaps one repetition at the very end.
    pub(super) fn translate(mut self) -> Translation<(String, bool)> {
        while let Some(c) = self.take() {
            if self.classes > 0 {
                self.class_character(c)?;
            } else {
                self.character(c)?;
            }
        }
        let near = self.unbounded == 0
            || (self.unbounded == 1 && !self.branched && self.unbounded_end == self.text.len());
        Ok((self.out, near))
    }

    fn unbounded(&mut self) {
        self.unbounded += 1;
        self.unbounded_end = self.at;
    }

    fn character(&mut self, c: char) -> Translation<()> {
        let was_quantified = std::mem::take(&mut self.quantified);
        match c {
            '\\' => self.escape()?,
            '[' => self.open_class(),
            '(' => self.group()?,
            '.' if !self.dot_all => self.out.push_str(NOT_LINE_END),
            '*' | '?' => {
                self.out.push(c);
                self.quantified = true;
                if c == '*' {
                    self.unbounded();
                }
            }
            '+' if was_quantified => {
                return Err("possessive quantifiers are not supported".to_owned());
            }
            '+' => {
                self.out.push(c);
                self.quantified = true;
                self.unbounded();
            }
            '{' => {
                let Some(end) = self.rest().find('}') else {
                    return Err("unclosed repetition".to_owned());
                };
                let counts = &self.rest()[..end];
                if !counts.starts_with(|c: char| c.is_ascii_digit()) {
                    return Err("a repetition needs a number".to_owned());
                }
                self.out.push('{');
                self.out.push_str(counts);
                self.out.push('}');
                self.at += end + 1;
                self.quantified = true;
                if counts.ends_with(',') {
                    self.unbounded();
                }
            }
            '|' => {
                self.out.push(c);
                self.branched = true;
            }
            '#' | '&' | '-' | '~' | '}' | ']' => self.literal(c),
            _ => self.out.push(c),
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        let mut buffer = [0; 4];
        self.out.push_str(&regex::escape(c.encode_utf8(&mut buffer)));
    }

    /// Steps over what opens a group.
    fn group(&mut self) -> Translation<()> {
        self.branched = true;
        let unsupported = |what: &str| Err(format!("{what} is not supported"));
        if !self.accept("?") {
            self.out.push('(');
            return Ok(());
        }
        if self.accept("=") || self.accept("!") {
            return unsupported("look-ahead");
        }
        if self.accept("<=") || self.accept("<!") {
            return unsupported("look-behind");
        }
        if self.accept(">") {
            return unsupported("an atomic group");
        }
        if self.accept("<") {
            self.out.push_str("(?<");
            return Ok(());
        }
        // Flags. Those about Unicode only widen what Java would match, so they are dropped.
        let end = self.rest().find([':', ')']).ok_or("unclosed group")?;
        let flags = &self.rest()[..end];
        self.at += end;
        let (on, off) = flags.split_once('-').unwrap_or((flags, ""));
        let translate = |flags: &str| -> Translation<String> {
            let mut kept = String::new();
            for flag in flags.chars() {
                match flag {
                    'i' | 'm' | 's' | 'x' => kept.push(flag),
                    'u' | 'U' | 'd' => {}
                    _ => return Err(format!("unknown flag '{flag}'")),
                }
            }
            Ok(kept)
        };
        let (on, off) = (translate(on)?, translate(off)?);
        self.dot_all |= on.contains('s');
        let scoped = self.accept(":");
        if !scoped {
            self.at += 1;
        }
        let minus = if off.is_empty() { "" } else { "-" };
        match (scoped, on.is_empty() && off.is_empty()) {
            (true, _) => self.out.push_str(&format!("(?{on}{minus}{off}:")),
            (false, true) => {}
            (false, false) => self.out.push_str(&format!("(?{on}{minus}{off})")),
        }
        Ok(())
    }

    fn open_class(&mut self) {
        self.classes += 1;
        self.out.push('[');
        if self.accept("^") {
            self.out.push('^');
        }
        // A bracket right at the start stands for itself.
        if self.accept("]") {
            self.out.push_str("\\]");
        }
    }

    fn class_character(&mut self, c: char) -> Translation<()> {
        match c {
            '\\' => return self.escape(),
            '[' => self.open_class(),
            ']' => {
                self.classes -= 1;
                self.out.push(']');
            }
            '&' if self.accept("&") => self.out.push_str("&&"),
            // Doubled, these are operators of the crate's syntax; Java does not have them.
            '~' | '&' => self.literal(c),
            '-' if matches!(self.peek(), Some('-')) || self.out.ends_with(['-', ']']) => self.literal(c),
            _ => self.out.push(c),
        }
        Ok(())
    }

    /// Writes a set of characters, inside a class or on its own.
    fn set(&mut self, set: &str) {
        self.out.push('[');
        self.out.push_str(set);
        self.out.push(']');
    }

    fn escape(&mut self) -> Translation<()> {
        let Some(c) = self.take() else {
            return Err("it ends with a backslash".to_owned());
        };
        match c {
            'd' => self.set("0-9"),
            'D' => self.set("^0-9"),
            'w' => self.set("a-zA-Z0-9_"),
            'W' => self.set("^a-zA-Z0-9_"),
            's' => self.set(r" \t-\r"),
            'S' => self.set(r"^ \t-\r"),
            'h' => self.set(r" \t\u{A0}\u{1680}\u{180E}\u{2000}-\u{200A}\u{202F}\u{205F}\u{3000}"),
            'H' => self.set(r"^ \t\u{A0}\u{1680}\u{180E}\u{2000}-\u{200A}\u{202F}\u{205F}\u{3000}"),
            'v' => self.set(r"\n-\r\u{85}\u{2028}\u{2029}"),
            'V' => self.set(r"^\n-\r\u{85}\u{2028}\u{2029}"),
            'R' if self.classes == 0 => self.out.push_str(r"(?:\r\n|[\n-\r\u{85}\u{2028}\u{2029}])"),
            'b' | 'B' | 'A' | 'z' if self.classes == 0 => {
                self.out.push('\\');
                self.out.push(c);
            }
            't' | 'n' | 'r' | 'f' | 'a' => {
                self.out.push('\\');
                self.out.push(c);
            }
            'e' => self.out.push_str(r"\x1B"),
            '0' => {
                let digits = self.digits(3, 8)?;
                self.code(digits)?;
            }
            'x' if self.accept("{") => {
                let end = self.rest().find('}').ok_or("unclosed character code")?;
                let code = u32::from_str_radix(&self.rest()[..end], 16).map_err(|_| "bad character code")?;
                self.at += end + 1;
                self.code(code)?;
            }
            'x' => {
                let code = self.exact_digits(2)?;
                self.code(code)?;
            }
            'u' => {
                let code = self.exact_digits(4)?;
                self.code(code)?;
            }
            'c' => {
                let c = self.take().filter(char::is_ascii).ok_or("bad control character")?;
                self.code(u32::from(c) ^ 64)?;
            }
            'Q' => {
                let end = self.rest().find("\\E").unwrap_or(self.rest().len());
                self.out.push_str(&regex::escape(&self.rest()[..end]));
                self.at = (self.at + end + 2).min(self.text.len());
            }
            'p' | 'P' => self.property(c == 'P')?,
            '1'..='9' | 'k' => return Err("a back-reference is not supported".to_owned()),
            c if c.is_ascii_alphabetic() => return Err(format!("\\{c} is not supported")),
            c => self.literal(c),
        }
        Ok(())
    }

    /// At most `most` digits; at least one.
    fn digits(&mut self, most: usize, radix: u32) -> Translation<u32> {
        let count = self.rest().chars().take(most).take_while(|c| c.is_digit(radix)).count();
        let code = u32::from_str_radix(&self.rest()[..count], radix).map_err(|_| "bad character code")?;
        self.at += count;
        Ok(code)
    }

    fn exact_digits(&mut self, count: usize) -> Translation<u32> {
        let before = self.at;
        let code = self.digits(count, 16)?;
        if self.at - before == count { Ok(code) } else { Err("bad character code".to_owned()) }
    }

    fn code(&mut self, code: u32) -> Translation<()> {
        let c = char::from_u32(code).ok_or("bad character code")?;
        self.literal(c);
        Ok(())
    }

    /// `\p{...}`. Java's POSIX names are ASCII; its scripts and properties have a prefix.
    fn property(&mut self, negated: bool) -> Translation<()> {
        let name = if self.accept("{") {
            let end = self.rest().find('}').ok_or("unclosed property")?;
            let name = &self.rest()[..end];
            self.at += end + 1;
            name
        } else {
            let start = self.at;
            self.take().ok_or("unclosed property")?;
            &self.text[start..self.at]
        };
        let posix = match name {
            "Lower" => "lower",
            "Upper" => "upper",
            "ASCII" => "ascii",
            "Alpha" => "alpha",
            "Digit" => "digit",
            "Alnum" => "alnum",
            "Punct" => "punct",
            "Graph" => "graph",
            "Print" => "print",
            "Blank" => "blank",
            "Cntrl" => "cntrl",
            "XDigit" => "xdigit",
            "Space" => "space",
            _ => {
                let letter = if negated { 'P' } else { 'p' };
                let name = name.strip_prefix("Is").unwrap_or(name);
                self.out.push_str(&format!("\\{letter}{{{name}}}"));
                return Ok(());
            }
        };
        let not = if negated { "^" } else { "" };
        self.set(&format!("[:{not}{posix}:]"));
        Ok(())
    }
}
