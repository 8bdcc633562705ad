// Package compat owns the proof that clients written for the Bare Metal API work with Billet as they
// are: its tests build the real binary, run it and drive it with the real clients. It refuses to
// reach into the service: everything goes over the wire.
package compat
