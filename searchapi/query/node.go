package query

// Node is one clause of a query. The set is closed: a store handles every one.
type Node interface{ node() }

// Value is a value as the caller wrote it: a string, json.Number or bool. Its
// meaning is decided by the type of the field that it is compared with.
type Value any

type (
	// MatchAll matches every document.
	MatchAll struct{ Boost float64 }
	// MatchNone matches none.
	MatchNone struct{}
	// Term matches documents with exactly this value (of an analysed field: token).
	Term struct {
		Field           string
		Value           Value
		CaseInsensitive bool
		Boost           float64
	}
	// Terms matches documents with one of the values.
	Terms struct {
		Field  string
		Values []Value
		Boost  float64
	}
	// IDs matches by id.
	IDs struct {
		Types  []string // empty is any
		Values []string
		Boost  float64
	}
	// Exists matches documents in which the field, or one below it, has a value.
	Exists struct {
		Field string
		Boost float64
	}
	// Range matches values between bounds; a nil bound is open. Resolve turns the
	// bounds of date fields into UTC instants, so that a store sees only those.
	Range struct {
		Field            string
		GT, GTE, LT, LTE Value
		Format           string
		TimeZone         string
		Lenient          bool // a bound that the field's type cannot hold matches nothing
		Boost            float64
	}
	// Prefix matches values (of an analysed field: tokens) that begin so.
	Prefix struct {
		Field           string
		Value           string
		CaseInsensitive bool
		Boost           float64
	}
	// Wildcard matches with * and ?; a backslash escapes.
	Wildcard struct {
		Field           string
		Value           string
		CaseInsensitive bool
		Boost           float64
	}
	// Match analyses the text if the field is analysed and matches its tokens.
	Match struct {
		Fields             []string  // one, or for free text several; * stands for any characters
		Weights            []float64 // of Fields, in their order; nil is 1 each
		Text               Value
		And                bool // all tokens must match
		MinimumShouldMatch string
		Lenient            bool // a text that the field's type cannot hold matches nothing
		Boost              float64
	}
	// MatchPhrase matches the tokens in order, at most Slop moves apart.
	MatchPhrase struct {
		Fields  []string
		Weights []float64 // of Fields, in their order; nil is 1 each
		Text    string
		Slop    int
		Prefix  bool // the last token is a prefix
		Lenient bool
		Boost   float64
	}
	// Pattern is a prefix or wildcard of query_string over several fields.
	Pattern struct {
		Fields  []string
		Weights []float64 // of Fields, in their order; nil is 1 each
		Value   string    // with * and ?; a backslash escapes
		Boost   float64
		Lenient bool
	}
	// Bool combines clauses. With no must and no filter one should must match, else
	// MinimumShouldMatch says how many.
	Bool struct {
		Must, Filter, Should, MustNot []Node
		MinimumShouldMatch            string
		Boost                         float64
	}
	// Nested matches documents that have one element at Path that matches Query.
	Nested struct {
		Path      string
		Query     Node
		ScoreMode string
		Boost     float64
	}
)

func (MatchAll) node()    {}
func (MatchNone) node()   {}
func (Term) node()        {}
func (Terms) node()       {}
func (IDs) node()         {}
func (Exists) node()      {}
func (Range) node()       {}
func (Prefix) node()      {}
func (Wildcard) node()    {}
func (Match) node()       {}
func (MatchPhrase) node() {}
func (Pattern) node()     {}
func (Bool) node()        {}
func (Nested) node()      {}

// Error says which part of a request is wrong.
type Error struct {
	Path   string // such as query.bool.must[0].fuzy
	Detail string // what is wrong and what is allowed there
}

// Error gives both.
func (e *Error) Error() string { return e.Path + ": " + e.Detail }
