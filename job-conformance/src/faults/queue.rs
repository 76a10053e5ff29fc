//! A queue that fails, repeats and delays, by seed.
