// Package bench measures the real binary as a process and prints one table: every
// figure beside a reference taken in the same run, so that the ratio means something
// on a busy machine too. `make bench` runs it; BENCH=ingest,documents runs parts.
//
// It optimises and asserts nothing. Its invariant: no figure stands alone.
package bench
