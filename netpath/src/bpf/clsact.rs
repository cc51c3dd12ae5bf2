//! The clsact fallback.
