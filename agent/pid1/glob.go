package pid1

// match reports whether s matches pattern as fnmatch(3) without flags does: '*' any run, '?' any
// one byte, '[a-z]' and '[!a-z]' a set. path.Match does not do: modaliases contain slashes.
func match(pattern, s string) bool {
	star, mark := -1, 0 // where the last '*' was, and what it has eaten up to
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) && pattern[p] == '*' {
			star, mark = p, i
			p++
			continue
		}
		if width, ok := matchOne(pattern[p:], s[i]); ok {
			p += width
			i++
			continue
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne matches one byte against the head of pattern and returns the head's width.
func matchOne(pattern string, c byte) (width int, ok bool) {
	if pattern == "" {
		return 0, false
	}
	switch pattern[0] {
	case '?':
		return 1, true
	case '[':
		return matchSet(pattern, c)
	default:
		return 1, pattern[0] == c
	}
}

func matchSet(pattern string, c byte) (width int, ok bool) {
	i, negated, found := 1, false, false
	if i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^') {
		negated = true
		i++
	}
	for first := true; i < len(pattern) && (first || pattern[i] != ']'); first = false {
		lo, hi := pattern[i], pattern[i]
		if i+2 < len(pattern) && pattern[i+1] == '-' && pattern[i+2] != ']' {
			hi = pattern[i+2]
			i += 2
		}
		found = found || lo <= c && c <= hi
		i++
	}
	if i >= len(pattern) { // no closing bracket: an ordinary byte
		return 1, c == '['
	}
	return i + 1, found != negated
}
