package compile

import (
	"strings"
)

// enough is the number of rows at which one place to begin is as bad as another.
const enough = 5000

// begin is a set of rows that covers every match: the statement looks at those
// documents only.
type begin struct {
	conds []cond
	docs  *docsPred
	rows  int
	// whole is the leaf that the rows stand for, if being among them is all it asks.
	whole *leafPred
}

func (d *begin) from(b *builder) string {
	var parts []string
	for _, c := range d.conds {
		parts = append(parts, "SELECT t.doc FROM "+c.from(b))
	}
	if d.docs != nil {
		parts = append(parts, d.docs.from(b))
	}
	return strings.Join(parts, " UNION ALL ")
}

// driver chooses the smallest such set; nil if all documents must be looked at.
func (c *compiler) driver(p pred, est Estimate) (*begin, error) {
	if est == nil {
		return nil, nil
	}
	d, err := c.cover(p, est)
	if err != nil || d == nil {
		return nil, err
	}
	if d.whole != nil {
		d.whole.driving = true
	}
	return d, nil
}

// cover finds the smallest set for a condition.
func (c *compiler) cover(p pred, est Estimate) (*begin, error) {
	switch p := p.(type) {
	case *leafPred:
		return coverLeaf(p, est)
	case docsPred:
		return &begin{docs: &p, rows: len(p.ids)}, nil
	case nestedPred:
		d, err := c.cover(p.p, est)
		if d != nil {
			d.whole = nil
		}
		return d, err
	case andPred:
		var least *begin
		for _, part := range p {
			d, err := c.cover(part, est)
			if err != nil {
				return nil, err
			}
			if d != nil && (least == nil || d.rows < least.rows) {
				least = d
			}
		}
		return least, nil
	case orPred:
		return c.coverAll(p, est)
	case leastPred:
		return c.coverAll(p.parts, est)
	default:
		return nil, nil
	}
}

// coverAll covers a choice: every alternative must be covered.
func (c *compiler) coverAll(parts []pred, est Estimate) (*begin, error) {
	const most = 64 // SQLite limits compound selects, and each is counted first
	if len(parts) > most {
		return nil, nil
	}
	sum := &begin{}
	for _, p := range parts {
		d, err := c.cover(p, est)
		if err != nil || d == nil || d.docs != nil {
			return nil, err
		}
		sum.conds = append(sum.conds, d.conds...)
		if sum.rows += d.rows; sum.rows > 4*enough || len(sum.conds) > most {
			return nil, nil
		}
	}
	return sum, nil
}

func coverLeaf(p *leafPred, est Estimate) (*begin, error) {
	d := &begin{conds: p.conds, whole: p}
	for _, cd := range p.conds {
		var b builder
		n, err := est("SELECT 1 FROM "+cd.from(&b), b.args, enough)
		if err != nil {
			return nil, err
		}
		d.rows += n
	}
	return d, nil
}
