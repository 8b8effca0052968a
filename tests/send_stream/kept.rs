//! Streams kept in testdata.
