package plugintest

import "context"

// Level says what a check that fails means.
type Level string

// The levels: a plugin that fails a MUST is not fit for the host; one that fails a
// SHOULD works, but worse than it could.
const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
)

// check is one entry of the list. Its function returns the evidence for what it
// found right, or what is wrong.
type check struct {
	id    string
	level Level
	title string
	run   func(ctx context.Context, k *kit) (evidence string, err error)
}

// startCheck is the check without which no other can be made.
const startCheck = "P0"

// all is the whole list, in the order in which it is gone through: first what needs
// processes of its own, then what shares one, then how processes end.
func all() []check {
	return []check{
		{startCheck, Must, "starts and speaks the contract", firstStart},
		{"P1", Must, "refuses to run without a host", withoutCookie},
		{"P2", Must, "starts within 5 s with an empty environment", emptyEnvironment},
		{"P3", Must, "listens in the folder it was given", socketPlace},
		{"P3b", Should, "leaves no socket behind", socketGone},
		{"P4", Must, "refuses clients without the host's certificate", strangers},
		{"P5", Must, "says that it is healthy", health},
		{"P6", Must, "survives SIGTERM, SIGINT and SIGHUP", signals},
		{"P7", Should, "runs as another user in a read-only folder", otherUser},
		{"P8", Must, "runs twice side by side", twice},
		{"P9", Must, "speaks every protocol of its manifest", protocols},

		{"C1", Must, "has a name, a semantic version and schemes", identity},
		{"C2", Must, "has valid schemas whose defaults fit", schemas},
		{"C3", Must, "publishes nothing before it is configured", unconfigured},
		{"C4", Must, "refuses unknown keys of its configuration", unknownKey},
		{"C6", Must, "keeps its configuration when asked to validate only", validateOnly},
		{"C5", Must, "takes its configuration", takesConfig},
		{"C7", Must, "takes a configuration while it publishes", reconfigured},
		{"C8", Must, "says the same of itself each time, and as its manifest", sameInfo},

		{"D1", Must, "answers exactly once for each delivery of 0, 1 and many", answers},
		{"D2", Must, "asks for another attempt after 5xx", serverErrors},
		{"D3", Must, "makes one attempt", oneAttempt},
		{"D4", Must, "passes on Retry-After", retryAfter},
		{"D5", Must, "rejects a delivery after 400 and 413", refused},
		{"D6", Must, "reports a destination gone after 410", gone},
		{"D7", Must, "lets one bad delivery spoil no other", mixed},
		{"D8", Must, "rejects a destination that is not in the batch", outOfRange},
		{"D9", Must, "ignores fields it does not know", unknownFields},
		{"D10", Must, "answers before the deadline and leaves nothing in flight", deadline},
		{"D11", Must, "keeps a large binary body intact", largeBody},
		{"D12", Must, "lets no hung destination block another", hungDestination},
		{"D13", Must, "follows a destination that moves", movedDestination},
		{"D14", Must, "sends the same delivery again when asked to", redelivery},
		{"D14b", Should, "passes the delivery's id on", passesID},
		{"D15", Must, "refuses or answers batches above its limit", overLimit},
		{"D16", Should, "answers for fast deliveries before slow ones end", earlyAnswers},
		{"D17", Must, "stops network work within 1 s of cancellation", cancellation},
		{"D18", Should, "runs as many batches at once as it says", parallel},
		{"D19", Should, "speaks for the destination after 401 and 403", forbidden},
		{"D20", Must, "follows no redirect", redirect},

		{"H1", Must, "answers for its status within 1 s while it waits for receivers", statusUnderLoad},
		{"H1b", Should, "answers within 100 ms and counts what is in flight", statusPrompt},
		{"H2", Should, "grows by less than 20 MB over 1,000 batches", growth},
		{"H3", Should, "is not held up by its own log", logging},
		{"S1", Must, "shows no secret in log, result or error", secrets},
		{"S4", Must, "needs no environment variable beyond the host's", environment},
		{"S5", Must, "reaches no address that outbound does not allow", outbound},

		{"X1", Must, "drains: finishes what it has, refuses what comes", drains},
		{"X2", Must, "exits within 2 s of Shutdown", shutdown},
		{"X2b", Should, "exits with status 0", exitStatus},
		{"X3", Must, "exits when the host is gone", lifeline},
		{"X4", Must, "delivers again after a kill in mid-batch", killed},

		{"S2", Must, "writes nothing but the handshake to stdout", stdout},
		{"S3", Should, "logs lines that a host can read", readableLog},
	}
}
