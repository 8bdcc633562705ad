package bootmenu

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// GRUB's script language, as far as menus use it: words with shell quoting, if, while, until, for,
// functions, and the blocks of menuentry and submenu (GRUB Manual, "Shell-like scripting").

// part is a piece of a word: literal text, or the name of a variable.
type part struct {
	text     string
	variable bool
	quoted   bool
}

type word []part

// bare is a word's text if it is one unquoted literal: what keywords are.
func (w word) bare() string {
	if len(w) == 1 && !w[0].variable && !w[0].quoted {
		return w[0].text
	}
	return ""
}

// statement is one command, or a compound one.
type statement struct {
	words  []word   // simple: the command; for: variable and values; blocks: their arguments
	kind   string   // "" simple, "if", "while", "until", "for", "function", "menuentry", "submenu"
	tests  []script // conditions of if and elif, or of a loop
	bodies []script // what follows each; one more than tests is the else
	negate bool     // "! command"
}

type script []statement

// token is a word, or the end of a statement (newline or ";") when nil.
type token = word

type parser struct {
	tokens []token
	depth  int
}

// Bounds of a script: images come from anywhere.
const (
	maxDepth = 50      // of blocks
	maxWords = 100_000 // and ends of statements
)

var errUnfinished = errors.New("the script ends inside a block")

// parse reads a whole script.
func parse(text string) (script, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	s, end, err := p.list()
	if err == nil && end != "" {
		err = fmt.Errorf("%q stands where no block was begun", end)
	}
	return s, err
}

// list reads statements until a word that closes a block, which it takes and returns; "" at the end.
func (p *parser) list(closers ...string) (script, string, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, "", errors.New("the script's blocks are nested too deep")
	}
	defer func() { p.depth-- }()
	var s script
	for {
		for len(p.tokens) > 0 && p.tokens[0] == nil {
			p.tokens = p.tokens[1:]
		}
		if len(p.tokens) == 0 {
			if len(closers) > 0 {
				return nil, "", errUnfinished
			}
			return s, "", nil
		}
		switch first := p.tokens[0].bare(); first {
		case "then", "elif", "else", "fi", "do", "done", "}":
			p.tokens = p.tokens[1:]
			for _, c := range closers {
				if c == first {
					return s, first, nil
				}
			}
			return nil, "", fmt.Errorf("%q stands where no block was begun", first)
		}
		st, err := p.statement()
		if err != nil {
			return nil, "", err
		}
		s = append(s, st)
	}
}

func (p *parser) statement() (statement, error) {
	first := p.tokens[0].bare()
	switch first {
	case "if":
		p.tokens = p.tokens[1:]
		return p.conditional()
	case "while", "until":
		p.tokens = p.tokens[1:]
		return p.loop(statement{kind: first})
	case "for":
		st := statement{kind: "for", words: p.line(false)[1:]}
		body, err := p.block("do", "done")
		st.bodies = []script{body}
		return st, err
	case "function", "menuentry", "submenu":
		st := statement{kind: first, words: p.line(true)[1:]}
		if len(p.tokens) == 0 || p.tokens[0].bare() != "{" {
			return st, fmt.Errorf("%s has no block", first)
		}
		p.tokens = p.tokens[1:]
		body, _, err := p.list("}")
		st.bodies = []script{body}
		return st, errOr(err, func() error { return notEmpty(first, body) })
	}
	st := statement{words: p.line(false)}
	if first == "!" {
		st.words, st.negate = st.words[1:], true
	}
	return st, nil
}

// line takes the words up to the end of the statement, or to a "{" that begins a block.
func (p *parser) line(block bool) []word {
	i := 0
	for i < len(p.tokens) && p.tokens[i] != nil && !(block && p.tokens[i].bare() == "{") && p.tokens[i].bare() != "}" {
		i++
	}
	words := p.tokens[:i]
	p.tokens = p.tokens[i:]
	return words
}

// block reads a body between two words.
func (p *parser) block(open, close string) (script, error) {
	before, _, err := p.list(open)
	if err == nil && len(before) > 0 {
		err = fmt.Errorf("%q is missing", open)
	}
	if err != nil {
		return nil, err
	}
	body, _, err := p.list(close)
	return body, errOr(err, func() error { return notEmpty(open, body) })
}

// notEmpty refuses blocks and conditions without a command, as GRUB does.
func notEmpty(what string, parts ...script) error {
	for _, s := range parts {
		if len(s) == 0 {
			return fmt.Errorf("there is nothing in a block of %q", what)
		}
	}
	return nil
}

func (p *parser) conditional() (statement, error) {
	st := statement{kind: "if"}
	for {
		test, _, err := p.list("then")
		if err != nil {
			return st, err
		}
		body, end, err := p.list("elif", "else", "fi")
		if err != nil {
			return st, err
		}
		st.tests, st.bodies = append(st.tests, test), append(st.bodies, body)
		if end == "else" {
			body, _, err := p.list("fi")
			st.bodies = append(st.bodies, body)
			return st, errOr(err, func() error { return notEmpty("if", slices.Concat(st.tests, st.bodies)...) })
		}
		if end == "fi" {
			return st, notEmpty("if", slices.Concat(st.tests, st.bodies)...)
		}
	}
}

func (p *parser) loop(st statement) (statement, error) {
	test, _, err := p.list("do")
	if err != nil {
		return st, err
	}
	body, _, err := p.list("done")
	st.tests, st.bodies = []script{test}, []script{body}
	return st, errOr(err, func() error { return notEmpty(st.kind, test, body) })
}

// lex splits a script into words.
func lex(text string) ([]token, error) {
	l := &lexer{rest: strings.ReplaceAll(text, "\r\n", "\n")}
	for l.rest != "" {
		if len(l.out) > maxWords {
			return nil, fmt.Errorf("the script has more than %d words", maxWords)
		}
		if err := l.next(); err != nil {
			return nil, err
		}
	}
	l.endWord()
	return append(l.out, nil), nil
}

type lexer struct {
	rest   string
	word   word
	inWord bool
	text   []byte // of the literal part under way
	open   bool   // there is one
	quoted bool   // and it is quoted
	goesOn bool   // a line before goes on right here: a "#" begins no comment
	out    []token
}

// flush ends the literal part under way.
func (l *lexer) flush() {
	if l.open {
		l.word = append(l.word, part{text: string(l.text), quoted: l.quoted})
		l.text, l.open = l.text[:0], false
	}
}

func (l *lexer) endWord() {
	l.flush()
	if l.inWord {
		l.out = append(l.out, l.word)
	}
	l.word, l.inWord = nil, false
}

// add appends to the word under way; an empty quoted text makes a word too.
func (l *lexer) add(text string, quoted bool) {
	l.inWord = true
	if l.quoted != quoted {
		l.flush()
	}
	l.text, l.open, l.quoted = append(l.text, text...), true, quoted
}

// addByte appends one byte, which may be a part of a letter beyond ASCII.
func (l *lexer) addByte(c byte, quoted bool) { l.add(string([]byte{c}), quoted) }

func (l *lexer) next() error {
	c := l.rest[0]
	l.rest = l.rest[1:]
	goesOn := l.goesOn
	l.goesOn = false
	switch {
	case c == '\n' || c == ';':
		l.endWord()
		l.out = append(l.out, nil)
	case c == ' ' || c == '\t':
		l.endWord()
	case c == '#' && !l.inWord && !goesOn:
		i := strings.IndexByte(l.rest, '\n')
		if i < 0 {
			i = len(l.rest)
		}
		l.rest = l.rest[i:]
	case c == '\\':
		if l.rest != "" && l.rest[0] == '\n' {
			l.rest, l.goesOn = l.rest[1:], true
		} else if l.rest != "" {
			l.add(l.rest[:1], true)
			l.rest = l.rest[1:]
		}
	case c == '\'':
		text, rest, ok := strings.Cut(l.rest, "'")
		if !ok {
			return errors.New("a quote is not closed")
		}
		l.add(text, true)
		l.rest = rest
	case c == '"':
		return l.doubleQuoted()
	case c == '$':
		l.variable(false)
	case c == '&' || c == '|':
		return fmt.Errorf("%q outside of quotes is no part of GRUB's language", c)
	case c == '{' && (!l.inWord || l.open && l.quoted), c == '}' && !l.inWord:
		// Braces stand alone only at the beginning of a word, or behind a quoted title.
		l.endWord()
		l.add(string(rune(c)), false)
		l.endWord()
	default:
		l.addByte(c, false)
	}
	return nil
}

func (l *lexer) doubleQuoted() error {
	l.add("", true)
	for l.rest != "" {
		c := l.rest[0]
		l.rest = l.rest[1:]
		switch {
		case c == '"':
			return nil
		case c == '\\' && l.rest != "" && strings.IndexByte("\\\"$\n", l.rest[0]) >= 0:
			if l.rest[0] != '\n' {
				l.add(l.rest[:1], true)
			}
			l.rest = l.rest[1:]
		case c == '$':
			l.variable(true)
		default:
			l.addByte(c, true)
		}
	}
	return errors.New("a quote is not closed")
}

// variable reads what follows a "$"; one that names nothing is a dollar sign.
func (l *lexer) variable(quoted bool) {
	var name, rest string
	if inner, ok := strings.CutPrefix(l.rest, "{"); ok {
		name, rest, _ = strings.Cut(inner, "}")
	} else {
		i := nameLength(l.rest)
		name, rest = l.rest[:i], l.rest[i:]
	}
	if name == "" {
		l.add("$", quoted)
		return
	}
	l.flush()
	l.inWord = true
	l.word = append(l.word, part{text: name, variable: true, quoted: quoted})
	l.rest = rest
}

// nameLength is how much of what follows a "$" is a name: one of ? # @ *, a number, or letters.
func nameLength(s string) int {
	if s != "" && strings.IndexByte("?#@*", s[0]) >= 0 {
		return 1
	}
	allowed := isName
	if s != "" && isDigit(s[0]) {
		allowed = isDigit
	}
	i := 0
	for i < len(s) && allowed(s[i]) {
		i++
	}
	return i
}

func isName(c byte) bool {
	return c == '_' || isDigit(c) || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
