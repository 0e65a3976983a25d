//! Where the two verdicts differ, and why that is meant.
