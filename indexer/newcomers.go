package indexer

// newcomers is the share, of late, of documents outside the cache that were not
// stored yet, from 0 to 1. While nearly all are new, the others are not looked up
// either: they are folded as new ones, the store refuses to create them, and they are
// then folded again into what is there. That saves a request for each batch of a
// first fill, and costs one where the guess was wrong. A new handler begins with 1: if
// that is wrong it knows after one batch.
type newcomers float64

const (
	guessAbove = 0.9
	newcomerUp = 0.2 // the weight of the last batch
)

// likely reports whether a document outside the cache is to be taken for a new one.
func (n newcomers) likely() bool { return n > guessAbove }

// note takes in that of some documents outside the cache so many were new.
func (n *newcomers) note(isNew, of int) {
	if of > 0 {
		*n += newcomerUp * (newcomers(isNew)/newcomers(of) - *n)
	}
}
