package query

import "strings"

// Nearest returns the one of words that word was probably meant to be; empty if
// none is close.
func Nearest(word string, words []string) string {
	const longest = 128
	if len(word) > longest {
		return ""
	}
	best, at := "", 3
	if len(word) < 4 {
		at = 2
	}
	w := strings.ToLower(word)
	for _, c := range words {
		if d := distance(w, strings.ToLower(c)); d < at {
			best, at = c, d
		}
	}
	return best
}

// distance counts the letters to change, add, remove or swap with the next to make
// b of a.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	var before []int
	prev := make([]int, len(t)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(s); i++ {
		cur := make([]int, len(t)+1)
		cur[0] = i
		for j := 1; j <= len(t); j++ {
			cost := 1
			if s[i-1] == t[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev = prev, cur
	}
	return prev[len(t)]
}

// unknown says that a key is not known, which one was probably meant, and what is
// allowed there.
func unknown(path, key, what string, allowed []string) error {
	hint := ""
	if n := Nearest(key, allowed); n != "" {
		hint = "did you mean " + n + "? "
	}
	return errorAt(join(path, key), "unknown %s; %sallowed here: %s", what, hint, strings.Join(allowed, ", "))
}

// join appends a key to a path.
func join(path, key string) string {
	const longest = 64
	if r := []rune(key); len(r) > longest {
		key = string(r[:longest]) + "..."
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
