//! Scripts, what they give and how they fail.
//!
//! One binary for all of them: linking costs more than running.

#[cfg(test)]
mod errors;
#[cfg(test)]
mod functions;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod operators;
#[cfg(test)]
mod paths;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod structures;
#[cfg(test)]
mod support;
#[cfg(test)]
mod times;
