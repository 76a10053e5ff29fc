//! Operators and how they bind.

use crate::ast::{Node, NodeKind, Operator};
use crate::token::TokenKind;

use super::{Parsed, Parser};

/// The binary operator that a word is, if it is one.
fn operator(kind: &TokenKind) -> Option<Operator> {
    Some(match kind {
        TokenKind::Pipe => Operator::Pipe,
        TokenKind::Or => Operator::Or,
        TokenKind::And => Operator::And,
        TokenKind::Equal => Operator::Equal,
        TokenKind::NotEqual => Operator::NotEqual,
        TokenKind::Less => Operator::Less,
        TokenKind::LessOrEqual => Operator::LessOrEqual,
        TokenKind::Greater => Operator::Greater,
        TokenKind::GreaterOrEqual => Operator::GreaterOrEqual,
        TokenKind::Plus => Operator::Add,
        TokenKind::Minus => Operator::Subtract,
        TokenKind::Star => Operator::Multiply,
        TokenKind::Slash => Operator::Divide,
        _ => return None,
    })
}

/// How tightly an operator binds. The weakest come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strength {
    Pipe,
    Or,
    And,
    Comparison,
    Sum,
    Product,
}

impl Operator {
    fn strength(self) -> Strength {
        match self {
            Self::Pipe => Strength::Pipe,
            Self::Or => Strength::Or,
            Self::And => Strength::And,
            Self::Equal
            | Self::NotEqual
            | Self::Less
            | Self::LessOrEqual
            | Self::Greater
            | Self::GreaterOrEqual => Strength::Comparison,
            Self::Add | Self::Subtract => Strength::Sum,
            Self::Multiply | Self::Divide => Strength::Product,
        }
    }
}

impl Parser<'_> {
    /// Operands and operators, grouped by strength without recursion: `chains` are those that wait
    /// for their right operand, each binding tighter than the one before.
    pub(super) fn binary(&mut self) -> Parsed<Node> {
        let mut chains: Vec<(Strength, Node)> = Vec::new();
        let mut operand = self.primary()?;
        loop {
            let Some(operator) = operator(&self.current.kind) else {
                return Ok(close_chains(&mut chains, operand, None));
            };
            let strength = operator.strength();
            operand = close_chains(&mut chains, operand, Some(strength));
            // Comparisons do not chain: `a < b < c` is not in the language.
            if strength == Strength::Comparison && chain_strength(&operand) == Some(strength) {
                return Err(self.unexpected("'and', 'or' or the end of the comparison"));
            }
            let position = self.advance()?.position;
            let mut chain =
                if chain_strength(&operand) == Some(strength) { operand } else { operand.into_chain() };
            operand = self.primary()?;
            if let NodeKind::Chain { rest, .. } = &mut chain.kind {
                // The right operand takes this place when the chain is closed.
                let hole = Node { kind: NodeKind::Context, position };
                rest.push((operator, position, hole));
            }
            chains.push((strength, chain));
        }
    }
}

impl Node {
    /// A chain that has this node for its only operand so far.
    fn into_chain(self) -> Self {
        let position = self.position;
        Self { kind: NodeKind::Chain { first: Box::new(self), rest: Vec::new() }, position }
    }

    /// Keeps a parenthesised chain from growing with the operators outside.
    pub(super) fn sealed(self) -> Self {
        if matches!(self.kind, NodeKind::Chain { .. }) { self.into_chain() } else { self }
    }
}

/// The strength of a chain's operators; `None` for a sealed chain and everything else.
fn chain_strength(node: &Node) -> Option<Strength> {
    match &node.kind {
        NodeKind::Chain { rest, .. } => rest.first().map(|(operator, _, _)| operator.strength()),
        _ => None,
    }
}

/// Gives `operand` to the waiting chains that bind at least as tightly as what comes next.
fn close_chains(chains: &mut Vec<(Strength, Node)>, mut operand: Node, next: Option<Strength>) -> Node {
    while let Some((_, mut chain)) = chains.pop_if(|(waiting, _)| Some(*waiting) >= next) {
        if let NodeKind::Chain { rest, .. } = &mut chain.kind
            && let Some((_, _, hole)) = rest.last_mut()
        {
            *hole = operand;
        }
        operand = chain;
    }
    operand
}
