package layout

// What is here walks over compact, valid JSON without decoding it: Encode looks at
// every value of every document.

// pass returns the index after the value that begins at i.
func pass(b []byte, i int) int {
	switch b[i] {
	case '"':
		return passString(b, i)
	case '{', '[':
		depth := 0
		for ; i < len(b); i++ {
			switch b[i] {
			case '"':
				i = passString(b, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return i
	default:
		for i < len(b) && b[i] != ',' && b[i] != ']' && b[i] != '}' {
			i++
		}
		return i
	}
}

func passString(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return i
}

// items calls f for each element of an array until it answers false.
func items(b []byte, f func(v []byte) bool) bool {
	for i := 1; i < len(b) && b[i] != ']'; {
		end := pass(b, i)
		if !f(b[i:end]) {
			return false
		}
		if i = end; i < len(b) && b[i] == ',' {
			i++
		}
	}
	return true
}

// members calls f for each member of an object, its name as it is between the quotes,
// until it answers false.
func members(b []byte, f func(name, v []byte) bool) bool {
	for i := 1; i < len(b) && b[i] != '}'; {
		colon := passString(b, i)
		end := pass(b, colon+1)
		if !f(b[i+1:colon-1], b[colon+1:end]) {
			return false
		}
		if i = end; i < len(b) && b[i] == ',' {
			i++
		}
	}
	return true
}
