//! Proto3 JSON ⇄ messages, strict and with positions.
