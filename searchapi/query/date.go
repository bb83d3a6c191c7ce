package query

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// DateSpec says how a date in a query is to be read.
type DateSpec struct {
	// Format is Elasticsearch's: names such as strict_date_optional_time,
	// epoch_millis and epoch_second, or patterns such as yyyy-MM-dd, with || between
	// alternatives. Empty is strict_date_optional_time||epoch_millis.
	Format string
	// TimeZone is for dates that name none: an offset or a place. Empty is UTC.
	TimeZone string
	// Up takes the end of what was not given: of 2026-05-01, the day's last
	// nanosecond. Without it the beginning is taken.
	Up bool
	// Now is what now means.
	Now time.Time
}

const defaultFormat = "strict_date_optional_time||epoch_millis"

// ParseDate reads a date, or date math on one: now-1d/d, 2026-05-01||+1M/d. The
// error tells what is wrong, not where.
func ParseDate(v Value, s DateSpec) (time.Time, error) {
	text := valueText(v)
	loc, err := location(s.TimeZone)
	if err != nil {
		return time.Time{}, err
	}
	if rest, ok := strings.CutPrefix(text, "now"); ok {
		return dateMath(s.Now.In(loc), rest, s.Up)
	}
	anchor, math, hasMath := strings.Cut(text, "||")
	up := s.Up && !hasMath
	t, err := parseAnchor(anchor, s.Format, loc, up)
	if err != nil || !hasMath {
		return t.UTC(), err
	}
	return dateMath(t.In(loc), math, s.Up)
}

// location reads a time zone.
func location(zone string) (*time.Location, error) {
	if zone == "" || zone == "Z" {
		return time.UTC, nil
	}
	if zone[0] == '+' || zone[0] == '-' {
		t, err := time.Parse("-07:00", zone)
		if err != nil {
			return nil, fmt.Errorf("time zone %s is no offset such as +01:00", quote(zone))
		}
		return t.Location(), nil
	}
	if zone == "Local" {
		return nil, errors.New("time zone Local is not known")
	}
	l, err := time.LoadLocation(zone)
	if err != nil {
		return nil, fmt.Errorf("time zone %s is not known", quote(zone))
	}
	return l, nil
}

// dateMath applies steps such as -1d/d.
func dateMath(t time.Time, steps string, up bool) (time.Time, error) {
	bad := func() (time.Time, error) {
		return time.Time{}, fmt.Errorf("date math %s is not like -1d/d", quote(steps))
	}
	for rest := steps; rest != ""; {
		op := rest[0]
		rest = rest[1:]
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == len(rest) || op != '/' && op != '+' && op != '-' || op == '/' && digits > 0 {
			return bad()
		}
		n := 1
		if digits > 0 {
			var err error
			if n, err = strconv.Atoi(rest[:digits]); err != nil || n > math.MaxInt32 {
				return bad()
			}
		}
		unit := rest[digits]
		rest = rest[digits+1:]
		if op == '-' {
			n = -n
		}
		var ok bool
		if op == '/' {
			t, ok = roundDate(t, unit, up)
		} else {
			t, ok = addDate(t, unit, n)
		}
		if !ok {
			return bad()
		}
		if t.Year() < 0 || t.Year() > 9999 {
			return time.Time{}, errors.New("the date is out of the years 0 to 9999")
		}
	}
	return t.UTC(), nil
}

func addDate(t time.Time, unit byte, n int) (time.Time, bool) {
	const most = 1 << 20 // of calendar units: beyond is out of range in any case
	calendar := min(max(n, -most), most)
	switch unit {
	case 'y':
		return addMonths(t, 12*calendar), true
	case 'M':
		return addMonths(t, calendar), true
	case 'w':
		return t.AddDate(0, 0, 7*calendar), true
	case 'd':
		return t.AddDate(0, 0, max(min(n, 8*most), -8*most)), true
	case 'h', 'H':
		return addUnits(t, time.Hour, n), true
	case 'm':
		return addUnits(t, time.Minute, n), true
	case 's':
		return addUnits(t, time.Second, n), true
	}
	return t, false
}

// addUnits adds n units, or as many as a Duration can hold.
func addUnits(t time.Time, unit time.Duration, n int) time.Time {
	most := int(math.MaxInt64 / int64(unit))
	return t.Add(unit * time.Duration(min(max(n, -most), most)))
}

// addMonths adds calendar months; a day that the month lacks is its last one.
func addMonths(t time.Time, n int) time.Time {
	first := time.Date(t.Year(), t.Month(), 1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location()).AddDate(0, n, 0)
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(t.Day(), last)-1)
}

// roundDate rounds down to the beginning of a unit, or up to its last nanosecond.
func roundDate(t time.Time, unit byte, up bool) (time.Time, bool) {
	y, mo, d := t.Date()
	h, mi, s := t.Clock()
	switch unit {
	case 'y':
		mo, d, h, mi, s = time.January, 1, 0, 0, 0
	case 'M':
		d, h, mi, s = 1, 0, 0, 0
	case 'w':
		d -= (int(t.Weekday()) + 6) % 7 // weeks begin on Monday
		h, mi, s = 0, 0, 0
	case 'd':
		h, mi, s = 0, 0, 0
	case 'h', 'H':
		mi, s = 0, 0
	case 'm':
		s = 0
	case 's':
	default:
		return t, false
	}
	begin := time.Date(y, mo, d, h, mi, s, 0, t.Location())
	if !up {
		return begin, true
	}
	next, ok := addDate(begin, unit, 1)
	return next.Add(-time.Nanosecond), ok
}

// parseAnchor reads a date without math by the first alternative that fits.
func parseAnchor(text, format string, loc *time.Location, up bool) (time.Time, error) {
	if format == "" {
		format = defaultFormat
	}
	for f := range strings.SplitSeq(format, "||") {
		if t, ok := parseFormat(text, f, loc, up); ok {
			if t.Year() < 0 || t.Year() > 9999 {
				return time.Time{}, errors.New("the date is out of the years 0 to 9999")
			}
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s is no date of format %s", quote(text), format)
}

func parseFormat(text, format string, loc *time.Location, up bool) (time.Time, bool) {
	switch format {
	case "epoch_millis", "epoch_second":
		return parseEpoch(text, format)
	}
	layouts, ok := namedLayouts(format)
	if !ok {
		l, err := goLayout(format)
		if err != nil {
			return time.Time{}, false
		}
		layouts = []layout{l}
	}
	for _, l := range layouts {
		t, err := time.ParseInLocation(l.text, text, loc)
		if err != nil {
			continue
		}
		if up && l.unit != 0 {
			t, _ = roundDate(t, l.unit, true)
		}
		return t, true
	}
	return time.Time{}, false
}

func parseEpoch(text, format string) (time.Time, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) {
		return time.Time{}, false
	}
	const mostMillis = 253402300799999 // the end of the year 9999
	if format == "epoch_second" {
		f *= 1000
	}
	if math.Abs(f) > mostMillis {
		return time.Time{}, false
	}
	return time.UnixMicro(int64(math.Round(f * 1000))).UTC(), true
}
