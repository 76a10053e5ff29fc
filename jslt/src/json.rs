//! JSON text as Jackson writes it.

use std::fmt::Write as _;

use crate::error::{LimitKind, Outcome, over};
use crate::limits::{Budget, VALUE_NESTING};
use crate::value::{Val, compare_text};

/// The text of a double as Java's `Double.toString` has it: always with a fraction, and with an
/// exponent when it is below a thousandth or from ten million on.
pub(crate) fn write_double(out: &mut String, value: f64) {
    if value == 0.0 {
        out.push_str(if value.is_sign_negative() { "-0.0" } else { "0.0" });
        return;
    }
    // Rust gives the shortest digits that read back as the same number: "-1.25e-7".
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(mantissa) => ("-", mantissa),
        None => ("", mantissa),
    };
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    out.push_str(sign);
    if !(-3..7).contains(&exponent) {
        let fraction = if digits.len() > 1 { &digits[1..] } else { "0" };
        // Writing to a string cannot fail.
        let _ = write!(out, "{}.{fraction}E{exponent}", &digits[..1]);
    } else if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', exponent.unsigned_abs() as usize - 1));
        out.push_str(&digits);
    } else {
        let whole = exponent.unsigned_abs() as usize + 1;
        if digits.len() > whole {
            out.push_str(&digits[..whole]);
            out.push('.');
            out.push_str(&digits[whole..]);
        } else {
            out.push_str(&digits);
            out.extend(std::iter::repeat_n('0', whole - digits.len()));
            out.push_str(".0");
        }
    }
}

/// Writes a string with quotes and escapes.
fn write_string(out: &mut String, text: &str) {
    out.push('"');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            8 => "\\b",
            12 => "\\f",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[plain..at]);
        plain = at + 1;
        if escape.is_empty() {
            let _ = write!(out, "\\u{byte:04X}");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&text[plain..]);
    out.push('"');
}

/// Writes values as text, within a budget.
struct Writer<'b> {
    out: String,
    budget: &'b mut Budget,
    /// Members in the order of their names, not of their insertion.
    sorted: bool,
    /// The length that has been paid for.
    paid: usize,
}

impl Writer<'_> {
    /// Pays for what was written since the last call.
    fn pay(&mut self) -> Outcome<()> {
        if self.out.len() > self.budget.output_bytes() {
            return over(LimitKind::Output);
        }
        self.budget.step(1)?;
        let written = self.out.len() - self.paid;
        self.paid = self.out.len();
        self.budget.allocate(written)
    }

    fn value(&mut self, value: &Val<'_>, depth: u32) -> Outcome<()> {
        if depth > VALUE_NESTING {
            return over(LimitKind::Nesting);
        }
        match value {
            Val::Null => self.out.push_str("null"),
            Val::Bool(true) => self.out.push_str("true"),
            Val::Bool(false) => self.out.push_str("false"),
            Val::Int(number) => drop(write!(self.out, "{number}")),
            Val::Huge(number) => drop(write!(self.out, "{number}")),
            Val::Double(number) => write_double(&mut self.out, *number),
            Val::Str(text) => write_string(&mut self.out, text),
            Val::Text(text) => write_string(&mut self.out, text),
            Val::BorrowedArray(_) | Val::Array(_) => {
                self.out.push('[');
                for (index, element) in value.elements().enumerate() {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.value(&element, depth + 1)?;
                }
                self.out.push(']');
            }
            Val::BorrowedObject(_) | Val::Object(_) => self.object(value, depth)?,
        }
        self.pay()
    }

    fn object(&mut self, value: &Val<'_>, depth: u32) -> Outcome<()> {
        let mut members = value.members();
        if self.sorted {
            members.sort_by(|(left, _), (right, _)| compare_text(left.as_str(), right.as_str()));
        }
        self.out.push('{');
        for (index, (name, value)) in members.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            write_string(&mut self.out, name.as_str());
            self.out.push(':');
            self.value(value, depth + 1)?;
        }
        self.out.push('}');
        Ok(())
    }
}

/// The JSON text of a value.
pub(crate) fn to_json(value: &Val<'_>, budget: &mut Budget) -> Outcome<String> {
    let mut writer = Writer { out: String::new(), budget, sorted: false, paid: 0 };
    writer.value(value, 0)?;
    Ok(writer.out)
}

/// The JSON text of a value with the members of objects sorted by name.
pub(crate) fn to_sorted_json(value: &Val<'_>, budget: &mut Budget) -> Outcome<String> {
    let mut writer = Writer { out: String::new(), budget, sorted: true, paid: 0 };
    writer.value(value, 0)?;
    Ok(writer.out)
}

/// A value inside a message: its JSON text, cut short.
pub(crate) fn excerpt(value: &Val<'_>) -> String {
    const LONGEST: usize = 200;
    // A message has a small budget of its own, so that it can be made when the other is spent.
    let limits = crate::Limits { steps: 1_000, output_bytes: 4 * LONGEST, ..crate::Limits::default() };
    let mut budget = Budget::new(&limits);
    let mut writer = Writer { out: String::new(), budget: &mut budget, sorted: false, paid: 0 };
    let complete = match value.as_str() {
        Some(text) if text.len() > LONGEST => {
            write_string(&mut writer.out, &text[..text.floor_char_boundary(LONGEST)]);
            false
        }
        _ => writer.value(value, 0).is_ok(),
    };
    let mut text = writer.out;
    if !complete || text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push_str("...");
    }
    text
}
