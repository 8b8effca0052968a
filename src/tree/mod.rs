//! The tree that a chain of send streams describes: a full stream and its increments.
//!
//! [`digest`] defines one number for a tree, whatever the streams it comes from.

pub mod digest;
