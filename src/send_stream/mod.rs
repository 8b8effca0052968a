//! send_stream
