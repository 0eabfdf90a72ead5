//! What workflows mean, seen from both sides: the client's and the one that steps call.
