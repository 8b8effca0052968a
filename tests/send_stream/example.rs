//! The example for producers, received.
