//! Turns the tree of a script into a program.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::ast::{self, Node, NodeKind, Operator};
use crate::error::{CompileError, Position};
use crate::functions::{Builtin, FormatArgument};
use crate::options::{CompileOptions, ObjectFilter};
use crate::pattern::Pattern;
use crate::program::{
    Arithmetic, ArithmeticOperator, Branch, BuiltinCall, Call, CompareOperator, Comparison, Expr, For,
    Function, Global, If, Key, Let, Matcher, Object, Pair, Path, Prepared, Program, Slot, Step,
};
use crate::scope::Scopes;
use crate::time_format::TimeFormat;

type Compiled<T> = Result<T, CompileError>;

/// The object that a matcher copies from: it stands at the place of the input that corresponds to
/// the matcher's place in the output.
#[derive(Clone, Copy)]
enum Place<'p> {
    /// The context itself.
    Root,
    /// A member of another place.
    Member(&'p Self, &'p str),
    /// No place corresponds; says what is in the way.
    Nowhere(&'static str),
}

impl Place<'_> {
    fn keys(&self) -> Result<Vec<String>, &'static str> {
        match self {
            Self::Root => Ok(Vec::new()),
            Self::Member(parent, key) => {
                let mut keys = parent.keys()?;
                keys.push((*key).to_owned());
                Ok(keys)
            }
            Self::Nowhere(obstacle) => Err(obstacle),
        }
    }
}

/// Patterns take time to compile and memory to keep.
const MOST_PATTERNS: usize = 128;

/// Compiles a parsed script.
pub(crate) fn compile(module: ast::Module, options: &CompileOptions) -> Compiled<Program> {
    let ast::Module { lets, functions, body } = module;
    let mut scopes = Scopes::default();
    // The outermost scope is the caller's, so that the script may shadow what it is given.
    scopes.enter();
    let mut external = Vec::new();
    for name in &options.variables {
        if let Ok(Slot::Global(slot)) = scopes.declare(name) {
            external.push((name.clone(), slot));
        }
    }
    scopes.enter();

    // When a name is declared twice the last declaration counts.
    let names: HashMap<String, (u32, usize)> = functions
        .iter()
        .zip(0..)
        .map(|(function, index)| (function.name.clone(), (index, function.parameters.len())))
        .collect();
    let mut compiler = Compiler {
        scopes,
        functions: names,
        keep_all: options.object_filter == ObjectFilter::KeepAll,
        patterns: HashMap::new(),
    };

    let lets = compiler.lets(lets, Place::Root)?;
    let functions =
        functions.into_iter().map(|function| compiler.function(function)).collect::<Compiled<_>>()?;
    let body = compiler.expression(body, Place::Root)?;
    Ok(Program {
        lets,
        functions,
        body,
        global_slots: compiler.scopes.global_slots(),
        external: external.into(),
        keep_all: compiler.keep_all,
    })
}

struct Compiler {
    scopes: Scopes,
    /// The script's own functions: index and number of parameters.
    functions: HashMap<String, (u32, usize)>,
    keep_all: bool,
    /// The constant patterns so far.
    patterns: HashMap<String, Pattern>,
}

impl Compiler {
    fn declare(&mut self, name: &str, position: Position) -> Compiled<Slot> {
        self.scopes
            .declare(name)
            .map_err(|_| CompileError::new(position, format!("Duplicate variable declaration {name}")))
    }

    /// Declares variables one after the other: each sees those before it, not itself.
    fn lets(&mut self, lets: Vec<ast::Let>, place: Place<'_>) -> Compiled<Box<[Let]>> {
        lets.into_iter()
            .map(|declaration| {
                let value = self.expression(declaration.value, place)?;
                Ok(Let { slot: self.declare(&declaration.name, declaration.position)?, value })
            })
            .collect()
    }

    fn function(&mut self, function: ast::Function) -> Compiled<Function> {
        self.scopes.enter_function();
        for (name, position) in &function.parameters {
            self.declare(name, *position)?;
        }
        let place = Place::Nowhere("function declaration");
        let lets = self.lets(function.lets, place)?;
        let body = self.expression(function.body, place)?;
        Ok(Function { slots: self.scopes.leave_function(), lets, body })
    }

    fn expressions(&mut self, nodes: Vec<Node>, place: Place<'_>) -> Compiled<Box<[Expr]>> {
        nodes.into_iter().map(|node| self.expression(node, place)).collect()
    }

    fn optional(&mut self, node: Option<Node>, place: Place<'_>) -> Compiled<Option<Expr>> {
        node.map(|node| self.expression(node, place)).transpose()
    }

    fn expression(&mut self, node: Node, place: Place<'_>) -> Compiled<Expr> {
        let position = node.position;
        Ok(match node.kind {
            NodeKind::Literal(value) => Expr::Constant(value),
            NodeKind::Context => Expr::Context,
            NodeKind::Variable(name) => self.variable(name, position)?,
            NodeKind::Call { name, arguments } => self.call(&name, arguments, position, place)?,
            NodeKind::Path { base, links } => self.path(*base, links, place)?,
            NodeKind::Array(elements) => self.array(elements)?,
            NodeKind::ArrayFor(source) => Expr::ArrayFor(self.comprehension(*source, position, place)?),
            NodeKind::ObjectFor(source) => Expr::ObjectFor(self.comprehension(*source, position, place)?),
            NodeKind::Object(object) => self.object(*object, place)?,
            NodeKind::If { branches, otherwise } => self.conditional(branches, otherwise, place)?,
            NodeKind::Chain { first, rest } => self.chain(*first, rest, place)?,
        })
    }

    fn variable(&self, name: String, position: Position) -> Compiled<Expr> {
        match self.scopes.resolve(&name) {
            Some(Slot::Local(slot)) => Ok(Expr::Local(slot)),
            Some(Slot::Global(slot)) => Ok(Expr::Global(Box::new(Global { slot, name, position }))),
            None => Err(CompileError::new(position, format!("No such variable '{name}'"))),
        }
    }

    fn path(&mut self, base: Node, links: Vec<ast::Link>, place: Place<'_>) -> Compiled<Expr> {
        let base = self.expression(base, place)?;
        let steps = links
            .into_iter()
            .map(|link| {
                Ok(match link {
                    ast::Link::Key(key) => Step::Key(key),
                    ast::Link::Index(index, position) => {
                        Step::Index(self.expression(index, place)?, position)
                    }
                    ast::Link::Slice(from, to, position) => {
                        Step::Slice(self.optional(from, place)?, self.optional(to, place)?, position)
                    }
                })
            })
            .collect::<Compiled<_>>()?;
        Ok(Expr::Path(Box::new(Path { base, steps })))
    }

    fn array(&mut self, elements: Vec<Node>) -> Compiled<Expr> {
        let mut elements = self.expressions(elements, Place::Nowhere("array"))?;
        if elements.iter().all(|element| matches!(element, Expr::Constant(_))) {
            return Ok(Expr::Constant(elements.iter_mut().filter_map(take_constant).collect()));
        }
        Ok(Expr::Array(elements))
    }

    fn comprehension(
        &mut self,
        source: ast::For,
        position: Position,
        place: Place<'_>,
    ) -> Compiled<Box<For>> {
        let ast::For { source, lets, key, value, condition } = source;
        let source = self.expression(source, place)?;
        // Inside, the context is the element.
        self.scopes.enter();
        let compiled = For {
            source,
            lets: self.lets(lets, Place::Root)?,
            key: self.optional(key, Place::Root)?,
            value: self.expression(value, Place::Root)?,
            condition: self.optional(condition, Place::Root)?,
            position,
        };
        self.scopes.leave();
        Ok(Box::new(compiled))
    }

    fn conditional(
        &mut self,
        branches: Vec<ast::Branch>,
        otherwise: Option<Box<(Vec<ast::Let>, Node)>>,
        place: Place<'_>,
    ) -> Compiled<Expr> {
        let branches = branches
            .into_iter()
            .map(|branch| {
                let condition = self.expression(branch.condition, place)?;
                let (lets, value) = self.block(branch.lets, branch.value, place)?;
                Ok(Branch { condition, lets, value })
            })
            .collect::<Compiled<_>>()?;
        let otherwise = match otherwise {
            Some(otherwise) => Some(self.block(otherwise.0, otherwise.1, place)?),
            None => None,
        };
        Ok(Expr::If(Box::new(If { branches, otherwise })))
    }

    fn block(&mut self, lets: Vec<ast::Let>, value: Node, place: Place<'_>) -> Compiled<(Box<[Let]>, Expr)> {
        self.scopes.enter();
        let lets = self.lets(lets, place)?;
        let value = self.expression(value, place)?;
        self.scopes.leave();
        Ok((lets, value))
    }

    fn chain(
        &mut self,
        first: Node,
        rest: Vec<(Operator, Position, Node)>,
        place: Place<'_>,
    ) -> Compiled<Expr> {
        let Some((kind, kind_position, _)) = rest.first() else {
            return self.expression(first, place);
        };
        let (kind, position) = (*kind, *kind_position);
        let first = self.expression(first, place)?;
        // What follows a pipe has the value before it for its context.
        let place = if kind == Operator::Pipe { Place::Root } else { place };
        let mut operands = Vec::with_capacity(rest.len());
        for (operator, position, node) in rest {
            operands.push((operator, position, self.expression(node, place)?));
        }
        let list = |operands: Vec<(Operator, Position, Expr)>, first| {
            std::iter::once(first).chain(operands.into_iter().map(|(_, _, operand)| operand)).collect()
        };
        Ok(match kind {
            Operator::Pipe => Expr::Pipe(list(operands, first)),
            Operator::Or => Expr::Or(list(operands, first)),
            Operator::And => Expr::And(list(operands, first)),
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide => {
                let rest = operands
                    .into_iter()
                    .map(|(operator, position, operand)| (arithmetic(operator), position, operand))
                    .collect();
                Expr::Arithmetic(Box::new(Arithmetic { first, rest }))
            }
            _ => match operands.pop() {
                Some((operator, _, right)) => Expr::Compare(Box::new(Comparison {
                    operator: comparison(operator),
                    left: first,
                    right,
                    position,
                })),
                None => first,
            },
        })
    }

    fn object(&mut self, object: ast::Object, place: Place<'_>) -> Compiled<Expr> {
        let ast::Object { lets, pairs, matcher } = object;
        self.scopes.enter();
        let lets = self.lets(lets, place)?;
        let mut dynamic = None;
        let mut compiled = Vec::with_capacity(pairs.len());
        for (key, value) in pairs {
            let position = key.position;
            let pair = match key.kind {
                NodeKind::Literal(Value::String(key)) => {
                    let value = self.expression(value, Place::Member(&place, &key))?;
                    Pair { key: Key::Static(key), value, position }
                }
                NodeKind::Literal(_) => {
                    return Err(CompileError::new(position, "Object key must be string"));
                }
                _ => {
                    dynamic.get_or_insert(position);
                    let key = Key::Dynamic(self.expression(key, place)?);
                    Pair { key, value: self.expression(value, Place::Nowhere("dynamic object"))?, position }
                }
            };
            compiled.push(pair);
        }
        if dynamic.is_none() {
            reject_duplicates(&compiled)?;
        }
        let matcher = match matcher {
            Some(matcher) if dynamic.is_some() => {
                let message = "Object matcher not allowed in objects which have dynamic keys";
                return Err(CompileError::new(matcher.position, message));
            }
            Some(matcher) => Some(self.matcher(matcher, &compiled, place)?),
            None => None,
        };
        self.scopes.leave();
        let object = Object { lets, pairs: compiled.into(), dynamic: dynamic.is_some(), matcher };
        Ok(constant_object(object, self.keep_all))
    }

    fn matcher(&mut self, matcher: ast::Matcher, pairs: &[Pair], place: Place<'_>) -> Compiled<Matcher> {
        let source = place.keys().map_err(|obstacle| {
            CompileError::new(matcher.position, format!("Object matcher used inside {obstacle}"))
        })?;
        let mut excluded = matcher.excluded;
        excluded.extend(pairs.iter().filter_map(|pair| match &pair.key {
            Key::Static(key) => Some(key.clone()),
            Key::Dynamic(_) => None,
        }));
        excluded.sort_unstable();
        // Inside, the context is the member's value.
        let value = self.expression(matcher.value, Place::Root)?;
        Ok(Matcher { source: source.into(), excluded: excluded.into(), value })
    }

    fn call(
        &mut self,
        name: &str,
        arguments: Vec<Node>,
        position: Position,
        place: Place<'_>,
    ) -> Compiled<Expr> {
        let count = arguments.len();
        let arity = |minimum: usize, maximum: usize| {
            if (minimum..=maximum).contains(&count) {
                return Ok(());
            }
            let needs = if minimum == maximum { minimum.to_string() } else { format!("{minimum}-{maximum}") };
            let message = format!("Function '{name}' needs {needs} arguments, got {count}");
            Err(CompileError::new(position, message))
        };
        // `fallback` evaluates its arguments only as needed, so a script cannot take its place.
        let own = self.functions.get(name).copied().filter(|_| name != "fallback");
        if let Some((function, parameters)) = own {
            arity(parameters, parameters)?;
            let arguments = self.expressions(arguments, place)?;
            return Ok(Expr::Call(Box::new(Call { function, arguments })));
        }
        let Some((function, minimum, maximum)) = Builtin::find(name) else {
            return Err(CompileError::new(position, format!("No such function: '{name}'")));
        };
        arity(minimum, maximum)?;
        let arguments = self.expressions(arguments, place)?;
        let prepared = self.prepare(function, &arguments, position)?;
        Ok(Expr::Builtin(Box::new(BuiltinCall { function, arguments, position, prepared })))
    }

    /// Compiles a constant regular expression or time format, so that it is done once and its
    /// mistakes show early.
    fn prepare(&mut self, function: Builtin, arguments: &[Expr], position: Position) -> Compiled<Prepared> {
        let Some(kind) = function.format_argument() else {
            return Ok(Prepared::Nothing);
        };
        let text = match arguments.get(1) {
            Some(Expr::Constant(Value::Null)) if kind == FormatArgument::Pattern => {
                return Err(CompileError::new(position, "Regexp cannot be null"));
            }
            Some(Expr::Constant(Value::String(text))) => text,
            _ => return Ok(Prepared::Nothing),
        };
        match kind {
            FormatArgument::Pattern => self.pattern(text).map(Prepared::Pattern),
            FormatArgument::TimeFormat => TimeFormat::new(text).map(Prepared::TimeFormat),
        }
        .map_err(|message| CompileError::new(position, message))
    }

    /// Equal patterns are compiled once.
    fn pattern(&mut self, text: &str) -> Result<Pattern, String> {
        if let Some(pattern) = self.patterns.get(text) {
            return Ok(pattern.clone());
        }
        if self.patterns.len() >= MOST_PATTERNS {
            return Err(format!("A script can have {MOST_PATTERNS} different regular expressions, not more"));
        }
        let pattern = Pattern::new(text)?;
        self.patterns.insert(text.to_owned(), pattern.clone());
        Ok(pattern)
    }
}

fn arithmetic(operator: Operator) -> ArithmeticOperator {
    match operator {
        Operator::Subtract => ArithmeticOperator::Subtract,
        Operator::Multiply => ArithmeticOperator::Multiply,
        Operator::Divide => ArithmeticOperator::Divide,
        _ => ArithmeticOperator::Add,
    }
}

fn comparison(operator: Operator) -> CompareOperator {
    match operator {
        Operator::NotEqual => CompareOperator::NotEqual,
        Operator::Less => CompareOperator::Less,
        Operator::LessOrEqual => CompareOperator::LessOrEqual,
        Operator::Greater => CompareOperator::Greater,
        Operator::GreaterOrEqual => CompareOperator::GreaterOrEqual,
        _ => CompareOperator::Equal,
    }
}

fn take_constant(expression: &mut Expr) -> Option<Value> {
    match expression {
        Expr::Constant(value) => Some(value.take()),
        _ => None,
    }
}

/// Whether a value is more than `null`, `{}` and `[]`.
pub(crate) fn is_substantial(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    }
}

fn reject_duplicates(pairs: &[Pair]) -> Compiled<()> {
    let mut seen = HashSet::with_capacity(pairs.len());
    for pair in pairs {
        if let Key::Static(key) = &pair.key
            && !seen.insert(key.as_str())
        {
            let message = format!("Invalid object declaration, duplicate key '{key}'");
            return Err(CompileError::new(pair.position, message));
        }
    }
    Ok(())
}

/// An object of constants is a constant.
fn constant_object(mut object: Object, keep_all: bool) -> Expr {
    let constant = object.matcher.is_none()
        && object.lets.is_empty()
        && object
            .pairs
            .iter()
            .all(|pair| matches!((&pair.key, &pair.value), (Key::Static(_), Expr::Constant(_))));
    if !constant {
        return Expr::Object(Box::new(object));
    }
    let mut members = Map::with_capacity(object.pairs.len());
    for pair in &mut object.pairs {
        if let (Key::Static(key), Some(value)) = (&mut pair.key, take_constant(&mut pair.value))
            && (keep_all || is_substantial(&value))
        {
            members.insert(std::mem::take(key), value);
        }
    }
    Expr::Constant(Value::Object(members))
}
