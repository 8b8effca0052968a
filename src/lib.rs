//! Makes, judges and moves the compressed payloads of btrfs extents.
