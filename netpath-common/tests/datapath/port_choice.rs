//! How ports are chosen where the own one is taken: how well they can be guessed, and how full a range
//! may be (RFC 6056; RFC 4787, REQ-3).
