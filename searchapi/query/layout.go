package query

import (
	"fmt"
	"strings"
)

// layout is a layout of package time, with the smallest unit that it holds: what is
// rounded to at the upper end of a range. Unit 0 stands for a fraction of a second.
type layout struct {
	text string
	unit byte
}

// namedLayouts returns the layouts of a format that has a name. A fraction of a
// second may always follow the seconds.
func namedLayouts(format string) ([]layout, bool) {
	dates := []layout{{"2006-01-02", 'd'}, {"2006-01", 'M'}, {"2006", 'y'}}
	switch strings.TrimPrefix(format, "strict_") {
	case "date_optional_time", "date_optional_time_nanos":
		return append(dateTimes(), dates...), true
	case "date":
		return dates[:1], true
	case "year_month":
		return dates[1:2], true
	case "year":
		return dates[2:], true
	case "date_time", "date_time_no_millis", "date_hour_minute_second", "date_hour_minute_second_millis":
		return dateTimes(), true
	case "basic_date":
		return []layout{{"20060102", 'd'}}, true
	}
	return nil, false
}

// dateTimes are the spellings of a date with a time that OpenStack and ISO 8601 use.
func dateTimes() []layout {
	var out []layout
	for _, sep := range []string{"T", " "} {
		for _, zone := range []string{"Z07:00", "", "Z0700"} {
			out = append(out,
				layout{"2006-01-02" + sep + "15:04:05.999999999" + zone, 0},
				layout{"2006-01-02" + sep + "15:04" + zone, 'm'},
				layout{"2006-01-02" + sep + "15" + zone, 'h'})
		}
	}
	return out
}

// formatNames lists the formats with names, for messages.
func formatNames() []string {
	return []string{
		"strict_date_optional_time", "date_optional_time", "date", "date_time", "year_month", "year", "basic_date",
		"epoch_millis", "epoch_second",
	}
}

// checkFormat reports an alternative that is neither a name nor a pattern.
func checkFormat(format string) error {
	if format == "" {
		return nil
	}
	for f := range strings.SplitSeq(format, "||") {
		if f == "epoch_millis" || f == "epoch_second" {
			continue
		}
		if _, ok := namedLayouts(f); ok {
			continue
		}
		if _, err := goLayout(f); err != nil {
			return fmt.Errorf("%w; known formats are %s and patterns such as yyyy-MM-dd", err, strings.Join(formatNames(), ", "))
		}
	}
	return nil
}

// goLayout translates a pattern such as dd/MM/yyyy HH:mm:ss.SSS.
func goLayout(pattern string) (layout, error) {
	letters := map[string]layout{
		"yyyy": {"2006", 'y'}, "uuuu": {"2006", 'y'}, "yy": {"06", 'y'},
		"MM": {"01", 'M'}, "M": {"1", 'M'}, "MMM": {"Jan", 'M'}, "MMMM": {"January", 'M'},
		"dd": {"02", 'd'}, "d": {"2", 'd'}, "HH": {"15", 'h'}, "H": {"15", 'h'}, "mm": {"04", 'm'}, "m": {"4", 'm'},
		"ss": {"05", 's'}, "s": {"5", 's'}, "Z": {"-0700", 0}, "XX": {"Z0700", 0}, "XXX": {"Z07:00", 0}, "ZZ": {"-07:00", 0},
	}
	const order = "yMdhms"
	out, at := strings.Builder{}, -1
	fraction := false
	for rest := pattern; rest != ""; {
		c := rest[0]
		run := len(rest) - len(strings.TrimLeft(rest, rest[:1]))
		switch {
		case c == '\'':
			text, after, closed := strings.Cut(rest[1:], "'")
			if !closed {
				return layout{}, fmt.Errorf("format %s does not close its quote", quote(pattern))
			}
			if strings.ContainsAny(text, "0123456789JMZ_-") {
				return layout{}, fmt.Errorf("format %s quotes more than plain words", quote(pattern))
			}
			out.WriteString(text)
			rest = after
			continue
		case c == 'S':
			if !strings.HasSuffix(out.String(), ".") && !strings.HasSuffix(out.String(), ",") {
				return layout{}, fmt.Errorf("format %s needs a dot before the fraction", quote(pattern))
			}
			out.WriteString(strings.Repeat("0", run))
			fraction = true
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			l, ok := letters[rest[:run]]
			if !ok {
				return layout{}, fmt.Errorf("format %s is not known", quote(pattern))
			}
			out.WriteString(l.text)
			if l.unit != 0 {
				at = max(at, strings.IndexByte(order, l.unit))
			}
		case c >= '0' && c <= '9' || c == '_':
			return layout{}, fmt.Errorf("format %s is not known", quote(pattern))
		default:
			out.WriteString(rest[:run])
		}
		rest = rest[run:]
	}
	if at < 0 {
		return layout{}, fmt.Errorf("format %s holds no part of a date", quote(pattern))
	}
	if fraction {
		return layout{text: out.String()}, nil
	}
	return layout{text: out.String(), unit: order[at]}, nil
}
