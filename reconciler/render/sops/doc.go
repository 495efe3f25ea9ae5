// Package sops opens files that were encrypted with SOPS for age or PGP keys.
//
// SOPS' own library links the client libraries of all clouds whose key
// services it can use: 800 packages of 119 modules for one YAML file. What is
// needed of its format is small: a data key that is encrypted for each
// recipient, values encrypted with AES-256-GCM under that key and their path,
// and a digest over all values. It is described in the README of
// github.com/getsops/sops; the tests open files that its binary made.
//
// Plaintext exists in memory only. No error and no String carries it.
package sops
