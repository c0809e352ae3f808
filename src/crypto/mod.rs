//! Maths on bytes: hashes, lanes, the Merkle tree, ciphers, key derivation, signatures.
//! It never holds state: keys, nonces and randomness are arguments.

pub mod aead;
pub mod hash;
pub mod kdf;
pub mod lanes;
pub mod merkle;
pub mod part;
pub mod sign;
pub mod x509;
