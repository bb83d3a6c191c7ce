package elastic

import "fmt"

// place is what a version stands for: a write's place in the history of one shard of
// one generation of an index. Two places are equal only if they are the same write.
type place struct {
	generation int // of the index, from 1
	term       int64
	seq        int64
}

// Bits of a version: 10 of the generation (modulo, since one follows another over
// months), 16 of the primary term, 37 of the sequence number. The sign stays 0.
const (
	generationBits = 10
	termBits       = 16
	seqBits        = 37
)

// version packs a place; it is never 0. The error says that the shard's counters have
// grown beyond what a version holds: a reindex starts them again.
func (p place) version() (int64, error) {
	if p.term < 1 || p.term >= 1<<termBits || p.seq < 0 || p.seq >= 1<<seqBits {
		return 0, fmt.Errorf("primary term %d or sequence number %d is out of range: reindex to start them again", p.term, p.seq)
	}
	g := int64(p.generation) % (1 << generationBits)
	return g<<(termBits+seqBits) | p.term<<seqBits | p.seq, nil
}

// of reports whether the place may be one of that generation.
func (p place) of(ix *index) bool {
	return p.generation == ix.generation%(1<<generationBits) && p.term > 0
}

// placeOf unpacks a version; its generation is modulo 1024.
func placeOf(version int64) place {
	return place{
		generation: int(version >> (termBits + seqBits)),
		term:       version >> seqBits & (1<<termBits - 1),
		seq:        version & (1<<seqBits - 1),
	}
}
