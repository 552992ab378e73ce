package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The README's table tells every key, its default and what it is for.
func TestREADMETable(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range Keys() {
		def := k.Default
		if def != "" {
			def = "`" + def + "`"
		}
		if row := fmt.Sprintf("| `%s` | %s | %s |\n", k.Name, def, k.Doc); !strings.Contains(string(readme), row) {
			t.Errorf("the README lacks the row\n%s", row)
		}
	}
}
