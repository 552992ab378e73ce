package rdb

import "testing"

// A script gets the definitions that it uses, and no others: those in comments alone are not
// used.
func TestScriptsGetTheDefinitionsThatTheyUse(t *testing.T) {
	const library = "-- Definitions.\n\nlocal A, B = 1, 2\n-- f is of A.\nlocal function f()\n  local x = A\n  return x\nend\n\n" +
		"local table = {\n  key = 1,\n}\nlocal unset\nlocal function g(B)\n  return f()\nend\n"
	const (
		a     = "local A, B = 1, 2\n-- f is of A.\n"
		f     = "local function f()\n  local x = A\n  return x\nend\n\n"
		table = "local table = {\n  key = 1,\n}\n"
		unset = "local unset\n"
		g     = "local function g(B)\n  return f()\nend\n"
	)
	for source, want := range map[string]string{
		"return 1":                         "",
		"-- f\nreturn key":                 "",
		"return B":                         a,
		"-- g\n  -- g\nreturn f()":         a + f,
		"unset = table.key\nreturn prefix": table + unset,
		"return g()":                       a + f + g,
	} {
		if got := withUsed(library, source); got != want+source {
			t.Errorf("%q gets\n%s", source, got)
		}
	}
}
