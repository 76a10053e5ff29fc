//! The built-in functions.

mod array;
mod general;
pub(crate) mod number;
mod object;
mod regexp;
mod string;
mod time;
mod url;

use std::borrow::Cow;

use crate::error::{Outcome, located};
use crate::eval::Evaluator;
use crate::json;
use crate::limits::Budget;
use crate::program::{BuiltinCall, Prepared};
use crate::value::Val;

/// Declares the functions: name in scripts, fewest and most arguments.
macro_rules! builtins {
    ($($variant:ident $name:literal $minimum:literal..=$maximum:literal,)*) => {
        /// A built-in function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Builtin {
            $($variant,)*
        }

        impl Builtin {
            /// The function with this name, and how many arguments it takes.
            pub(crate) fn find(name: &str) -> Option<(Self, usize, usize)> {
                match name {
                    $($name => Some((Self::$variant, $minimum, $maximum)),)*
                    _ => None,
                }
            }
        }
    };
}

builtins! {
    Contains "contains" 2..=2,
    Size "size" 1..=1,
    Error "error" 1..=1,
    Fallback "fallback" 2..=1024,
    Min "min" 2..=2,
    Max "max" 2..=2,
    IsNumber "is-number" 1..=1,
    IsInteger "is-integer" 1..=1,
    IsDecimal "is-decimal" 1..=1,
    Number "number" 1..=2,
    Round "round" 1..=1,
    Floor "floor" 1..=1,
    Ceiling "ceiling" 1..=1,
    Random "random" 0..=0,
    Sum "sum" 1..=1,
    Mod "mod" 2..=2,
    HashInt "hash-int" 1..=1,
    IsString "is-string" 1..=1,
    String "string" 1..=1,
    Test "test" 2..=2,
    Capture "capture" 2..=2,
    Split "split" 2..=2,
    Join "join" 2..=2,
    Lowercase "lowercase" 1..=1,
    Uppercase "uppercase" 1..=1,
    Sha256Hex "sha256-hex" 1..=1,
    StartsWith "starts-with" 2..=2,
    EndsWith "ends-with" 2..=2,
    FromJson "from-json" 1..=2,
    ToJson "to-json" 1..=1,
    Replace "replace" 3..=3,
    Trim "trim" 1..=1,
    Uuid "uuid" 0..=2,
    Not "not" 1..=1,
    Boolean "boolean" 1..=1,
    IsBoolean "is-boolean" 1..=1,
    IsObject "is-object" 1..=1,
    GetKey "get-key" 2..=3,
    Array "array" 1..=1,
    IsArray "is-array" 1..=1,
    Flatten "flatten" 1..=1,
    All "all" 1..=1,
    Any "any" 1..=1,
    Zip "zip" 2..=2,
    ZipWithIndex "zip-with-index" 1..=1,
    IndexOf "index-of" 2..=2,
    Now "now" 0..=0,
    ParseTime "parse-time" 2..=3,
    FormatTime "format-time" 2..=3,
    ParseUrl "parse-url" 1..=1,
}

/// What the second argument of some functions is, if it can be prepared ahead of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormatArgument {
    Pattern,
    TimeFormat,
}

impl Builtin {
    pub(crate) fn format_argument(self) -> Option<FormatArgument> {
        match self {
            Self::Test | Self::Capture | Self::Split | Self::Replace => Some(FormatArgument::Pattern),
            Self::ParseTime | Self::FormatTime => Some(FormatArgument::TimeFormat),
            _ => None,
        }
    }
}

/// The most arguments that any function but `fallback` takes.
const MOST_ARGUMENTS: usize = 3;

/// The arguments of a call.
struct Arguments<'v, 'a> {
    values: &'v [Val<'a>],
    prepared: &'a Prepared,
}

impl<'a> Arguments<'_, 'a> {
    fn first(&self) -> &Val<'a> {
        self.at(0)
    }

    fn second(&self) -> &Val<'a> {
        self.at(1)
    }

    fn at(&self, index: usize) -> &Val<'a> {
        self.values.get(index).unwrap_or(&Val::Null)
    }

    /// An argument that may be left out.
    fn optional(&self, index: usize) -> Option<&Val<'a>> {
        self.values.get(index)
    }
}

/// Calls a built-in function.
#[inline(never)]
pub(crate) fn call<'a>(
    evaluator: &mut Evaluator<'a>,
    call: &'a BuiltinCall,
    input: &Val<'a>,
) -> Outcome<Val<'a>> {
    if call.function == Builtin::Fallback {
        return fallback(evaluator, call, input);
    }
    let mut values = [const { Val::Null }; MOST_ARGUMENTS];
    for (value, argument) in values.iter_mut().zip(&call.arguments) {
        *value = evaluator.eval(argument, input)?;
    }
    let values = &values[..call.arguments.len().min(MOST_ARGUMENTS)];
    let arguments = Arguments { values, prepared: &call.prepared };
    located(dispatch(evaluator, call.function, &arguments), call.position)
}

/// The first argument that is more than `null`, `{}` or `[]`. Those after it are not evaluated.
#[inline(never)]
fn fallback<'a>(evaluator: &mut Evaluator<'a>, call: &'a BuiltinCall, input: &Val<'a>) -> Outcome<Val<'a>> {
    for argument in &call.arguments {
        let value = evaluator.eval(argument, input)?;
        if value.is_substantial() {
            return Ok(value);
        }
    }
    Ok(Val::Null)
}

#[inline(never)]
fn dispatch<'a>(
    evaluator: &mut Evaluator<'a>,
    function: Builtin,
    arguments: &Arguments<'_, 'a>,
) -> Outcome<Val<'a>> {
    let first = arguments.first();
    match function {
        Builtin::Contains => general::contains(evaluator, first, arguments.second()),
        Builtin::Size => general::size(evaluator, first),
        Builtin::Error => general::error(evaluator, first),
        Builtin::Fallback => Ok(Val::Null),
        Builtin::Min => general::extreme(evaluator, first, arguments.second(), false),
        Builtin::Max => general::extreme(evaluator, first, arguments.second(), true),
        Builtin::Boolean => Ok(first.is_true().into()),
        Builtin::Not => Ok((!first.is_true()).into()),
        Builtin::IsBoolean => Ok(matches!(first, Val::Bool(_)).into()),
        Builtin::IsNumber => Ok(first.is_number().into()),
        Builtin::IsInteger => Ok(first.is_integral().into()),
        Builtin::IsDecimal => Ok(matches!(first, Val::Double(_)).into()),
        Builtin::IsString => Ok(first.as_str().is_some().into()),
        Builtin::IsObject => Ok(first.is_object().into()),
        Builtin::IsArray => Ok(first.is_array().into()),
        Builtin::Number => number::number(first, arguments.optional(1)),
        Builtin::Round => number::to_integer(first, "round", |value| (value + 0.5).floor()),
        Builtin::Floor => number::to_integer(first, "floor", f64::floor),
        Builtin::Ceiling => number::to_integer(first, "ceiling", f64::ceil),
        Builtin::Random => number::random(evaluator),
        Builtin::Sum => number::sum(evaluator, first),
        Builtin::Mod => number::modulo(first, arguments.second()),
        Builtin::HashInt => number::hash_int(evaluator, first),
        Builtin::String => string::string(evaluator, first),
        Builtin::Join => string::join(evaluator, first, arguments.second()),
        Builtin::Lowercase => string::lowercase(evaluator, first),
        Builtin::Uppercase => string::uppercase(evaluator, first),
        Builtin::Sha256Hex => string::sha256_hex(evaluator, first),
        Builtin::StartsWith => string::starts_with(evaluator, first, arguments.second()),
        Builtin::EndsWith => string::ends_with(evaluator, first, arguments.second()),
        Builtin::FromJson => string::from_json(evaluator, first, arguments.optional(1)),
        Builtin::ToJson => json::to_json(first, &mut evaluator.budget).map(Val::from),
        Builtin::Trim => string::trim(evaluator, first),
        Builtin::Uuid => string::uuid(evaluator, arguments.values),
        Builtin::Test => regexp::test(evaluator, arguments),
        Builtin::Capture => regexp::capture(evaluator, arguments),
        Builtin::Split => regexp::split(evaluator, arguments),
        Builtin::Replace => regexp::replace(evaluator, arguments),
        Builtin::GetKey => object::get_key(evaluator, first, arguments.second(), arguments.optional(2)),
        Builtin::Array => array::array(evaluator, first),
        Builtin::Flatten => array::flatten(evaluator, first),
        Builtin::All => array::all(evaluator, first),
        Builtin::Any => array::any(evaluator, first),
        Builtin::Zip => array::zip(evaluator, first, arguments.second()),
        Builtin::ZipWithIndex => array::zip_with_index(evaluator, first),
        Builtin::IndexOf => array::index_of(evaluator, first, arguments.second()),
        Builtin::Now => time::now(evaluator),
        Builtin::ParseTime => time::parse_time(evaluator, arguments),
        Builtin::FormatTime => time::format_time(evaluator, arguments),
        Builtin::ParseUrl => url::parse_url(evaluator, first),
    }
}

/// The text of a value: a string itself, anything else as JSON.
pub(crate) fn text_of<'v>(value: &'v Val<'_>, budget: &mut Budget) -> Outcome<Cow<'v, str>> {
    match value.as_str() {
        Some(text) => {
            budget.scan(text.len())?;
            Ok(Cow::Borrowed(text))
        }
        None => json::to_json(value, budget).map(Cow::Owned),
    }
}
