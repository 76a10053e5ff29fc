//! The same random operations on two stores, and their observable state compared.
