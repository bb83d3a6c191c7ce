package elastic

import (
	"net/http"
)

// outcome is what became of one write.
type outcome int

const (
	done     outcome = iota
	conflict         // somebody else wrote first
	moved            // the generation no longer serves
	again            // busy: the same write may succeed later
	blocking         // refused until somebody mends the index
	large            // more than the server takes at once
	rejected         // never taken
	denied           // our login may not do this
	outcomes
)

func (o outcome) String() string {
	return [...]string{"done", "conflict", "moved", "again", "blocked", "large", "rejected", "denied"}[o]
}

// Types of error that decide.
const (
	typeConflict = "version_conflict_engine_exception"
	typeNotFound = "index_not_found_exception"
	typeBlock    = "cluster_block_exception"
	typeClosed   = "index_closed_exception"
)

// classify tells the outcome of an answer, of a whole request or of one item of a
// bulk: both have a status and a type. A flood-stage block has the status of a full
// queue, and a missing alias that of a missing document, so neither is enough alone.
// A refusal without a type is none of a server's but a proxy's: of no document's fault.
func classify(status int, typ string) outcome {
	switch {
	case typ == typeBlock || typ == typeClosed:
		return blocking
	case status >= 200 && status < 300:
		return done
	case status == http.StatusConflict:
		if typ == typeConflict || typ == "" {
			return conflict
		}
		return again
	case status == http.StatusNotFound && typ == typeNotFound:
		return moved
	case status == http.StatusNotFound:
		return conflict // a write with a version, or a delete, of what is not there
	case status == http.StatusRequestEntityTooLarge:
		return large
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		return denied
	case status == http.StatusTooManyRequests || status == http.StatusRequestTimeout || status >= 500:
		return again
	case typ == "":
		return blocking
	default:
		return rejected
	}
}
