package notification

import (
	"strconv"
	"strings"
	"time"
)

// ParseTime reads a time as services write it: date and time parted by a space or
// a T, a fraction of a second or none, and Z, an offset with or without a colon, or
// no zone at all, which means UTC. The result is UTC, cut to microseconds. ok is
// false for anything else, and for times before 1970.
func ParseTime(s string) (t time.Time, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) < 19 || s[4] != '-' || s[7] != '-' || s[10] != ' ' && s[10] != 'T' && s[10] != 't' || s[13] != ':' || s[16] != ':' {
		return time.Time{}, false
	}
	var n [6]int
	for i, f := range []string{s[0:4], s[5:7], s[8:10], s[11:13], s[14:16], s[17:19]} {
		if n[i], ok = digits(f); !ok {
			return time.Time{}, false
		}
	}
	nanos, rest, ok := fraction(s[19:])
	if !ok {
		return time.Time{}, false
	}
	offset, ok := zone(rest)
	if !ok || n[3] > 23 || n[4] > 59 || n[5] > 60 {
		return time.Time{}, false
	}
	t = time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], nanos/1000*1000, time.UTC)
	if t.Year() != n[0] || int(t.Month()) != n[1] && n[5] < 60 || n[2] < 1 || n[1] < 1 || n[2] > 31 || t.Day() != n[2] && n[5] < 60 {
		return time.Time{}, false
	}
	t = t.Add(-offset)
	return t, !t.Before(time.Unix(0, 0))
}

func digits(s string) (int, bool) {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// fraction reads ".123456" into nanoseconds.
func fraction(s string) (nanos int, rest string, ok bool) {
	if s == "" || s[0] != '.' && s[0] != ',' {
		return 0, s, true
	}
	end := 1
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	if end == 1 {
		return 0, s, false
	}
	nanos, err := strconv.Atoi((s[1:min(end, 10)] + "000000000")[:9])
	return nanos, s[end:], err == nil
}

// zone reads Z, +HH, +HHMM or +HH:MM; nothing means UTC.
func zone(s string) (time.Duration, bool) {
	switch s = strings.TrimSpace(s); s {
	case "", "Z", "z", "UTC":
		return 0, true
	}
	if s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	d := strings.Replace(s[1:], ":", "", 1)
	if len(d) == 2 {
		d += "00"
	}
	if len(d) != 4 {
		return 0, false
	}
	h, ok1 := digits(d[:2])
	m, ok2 := digits(d[2:])
	if !ok1 || !ok2 || h > 23 || m > 59 {
		return 0, false
	}
	offset := time.Duration(h)*time.Hour + time.Duration(m)*time.Minute
	if s[0] == '-' {
		offset = -offset
	}
	return offset, true
}
