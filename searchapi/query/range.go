package query

// ranges parses range, in its present form (gt, gte, lt, lte) and in the one that
// Searchlight's clients send (from, to, include_lower, include_upper).
func (p *parser) ranges(path string, v any) (Node, error) {
	name, o, err := field(path, v, "")
	if err != nil {
		return nil, err
	}
	n := Range{
		Field: name, GT: o.scalar("gt"), GTE: o.scalar("gte"), LT: o.scalar("lt"), LTE: o.scalar("lte"),
		Format: o.text("format"), TimeZone: o.text("time_zone"), Boost: o.boost(),
	}
	from, to := o.scalar("from"), o.scalar("to")
	lower, upper := o.flag("include_lower", true), o.flag("include_upper", true)
	if err := o.done(); err != nil {
		return nil, err
	}
	if from != nil && (n.GT != nil || n.GTE != nil) {
		return nil, errorAt(join(o.path, "from"), "stands beside gt or gte; give one lower bound")
	}
	if to != nil && (n.LT != nil || n.LTE != nil) {
		return nil, errorAt(join(o.path, "to"), "stands beside lt or lte; give one upper bound")
	}
	if from != nil && lower {
		n.GTE = from
	} else if from != nil {
		n.GT = from
	}
	if to != nil && upper {
		n.LTE = to
	} else if to != nil {
		n.LT = to
	}
	if err := n.oneBoundEach(o.path); err != nil {
		return nil, err
	}
	if err := checkFormat(n.Format); err != nil {
		return nil, errorAt(join(o.path, "format"), "%v", err)
	}
	if _, err := location(n.TimeZone); err != nil {
		return nil, errorAt(join(o.path, "time_zone"), "%v", err)
	}
	return n, nil
}

func (n Range) oneBoundEach(path string) error {
	if n.GT != nil && n.GTE != nil {
		return errorAt(join(path, "gte"), "stands beside gt; give one lower bound")
	}
	if n.LT != nil && n.LTE != nil {
		return errorAt(join(path, "lte"), "stands beside lt; give one upper bound")
	}
	return nil
}
