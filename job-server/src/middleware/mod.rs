//! What happens around every request, whatever it asks for.

pub(crate) mod compression;
pub(crate) mod correlation;
pub(crate) mod panic;
pub(crate) mod trace;
