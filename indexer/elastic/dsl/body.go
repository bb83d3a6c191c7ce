package dsl

// object and list are JSON under construction. Text of a caller only ever becomes a
// value in them; their keys are ours and the catalogue's.
type (
	object = map[string]any
	list   = []any
)

func clause(name string, body object) object { return object{name: body} }

// on is a clause on one field of the index.
func on(name, field string, body object) object { return object{name: object{field: body}} }

func matchAll(boost float64) object { return clause("match_all", object{"boost": boost}) }

// constant makes a clause score the same for every match.
func constant(q any, boost float64) object {
	return clause("constant_score", object{"filter": q, "boost": boost})
}

// anyOf matches where one of the clauses does: nil, which matches nothing, if there
// are none.
func anyOf(qs list) any {
	switch len(qs) {
	case 0:
		return nil
	case 1:
		return qs[0]
	}
	return clause("bool", object{"should": qs, "minimum_should_match": 1})
}

// boosted is a clause's own boost on what it scores.
func boosted(boost float64) float64 {
	if boost == 0 {
		return 1
	}
	return min(boost, maxBoost)
}

// maxBoost keeps scores within what servers reckon with.
const maxBoost = 1e30
