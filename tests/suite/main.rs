//! The behaviour of the library, one module for each part of it.

mod exchange;
