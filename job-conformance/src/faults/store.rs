//! A store that fails, also after doing what was asked, by seed.
