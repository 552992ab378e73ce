// Package text is the message catalogue: Kabar's own texts in each supported language, and
// the choice of the language.
//
// The texts are in message files, one for each language, in the format of
// [github.com/nicksnyder/go-i18n/v2]: ids, which may be nested, with a template each, or
// one for each of the language's plural forms. A template's fields are those of [Args]. An
// operator's folder may hold files of the same names and ids whose texts replace ours.
package text

import (
	"cmp"
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
)

// A Locale is a supported language.
type Locale string

// The languages. Indonesian is the documented one.
const (
	Indonesian Locale = "id"
	English    Locale = "en"
)

// Locales lists every language; the first one is the documented one.
var Locales = [...]Locale{Indonesian, English}

// Args are the fields of a template. Which of them are set depends on the text's id.
type Args struct {
	Buyer, Seller string // names of the two in a transaction or offer
	From          string // name of a message's sender
	Product       string // name of a product
	Amount        string // of money, formatted
	Count         int    // decides the plural form
}

// A Catalogue holds the texts. It is immutable and safe for concurrent use.
type Catalogue struct {
	ids        []string
	plural     map[string]bool // ids whose texts depend on Args.Count
	localizers map[Locale]*i18n.Localizer
}

// Options configure a Catalogue.
type Options struct {
	// Folder holds an operator's own message files, id.yaml and en.yaml or one of
	// them, with the texts that are to replace the built-in ones; or "".
	Folder string
}

//go:embed messages/*.yaml
var builtIn embed.FS

// Default returns the built-in texts.
func Default() *Catalogue {
	c, err := New(Options{})
	if err != nil {
		panic(fmt.Sprintf("built-in texts: %v", err)) // a test has read them
	}
	return c
}

// New reads the built-in texts, and replaces them by those of the operator's folder. The
// error names the file and the id of every text of the operator's that cannot be used: there
// is no such id, its template does not execute or uses a field that the built-in text does
// not use, or a plural form is missing.
func New(opts Options) (*Catalogue, error) {
	c := &Catalogue{plural: make(map[string]bool), localizers: make(map[Locale]*i18n.Localizer)}
	bundles := make(map[Locale]*i18n.Bundle)
	for _, l := range Locales {
		file := string(l) + fileType
		raw, err := builtIn.ReadFile("messages/" + file)
		if err != nil {
			return nil, fmt.Errorf("texts: %w", err)
		}
		messages, err := parse(raw)
		if err != nil {
			return nil, fmt.Errorf("texts: %s: %w", file, err)
		}
		// A bundle of its own: nothing falls back to another language unnoticed.
		bundles[l] = i18n.NewBundle(language.Make(string(l)))
		if err := bundles[l].AddMessages(language.Make(string(l)), messages...); err != nil {
			return nil, fmt.Errorf("texts: %s: %w", file, err)
		}
		c.localizers[l] = i18n.NewLocalizer(bundles[l], string(l))
		for _, m := range messages {
			c.ids = append(c.ids, m.ID)
			c.plural[m.ID] = strings.Contains(m.Other, ".Count")
		}
	}
	slices.Sort(c.ids)
	c.ids = slices.Compact(c.ids)
	if opts.Folder == "" {
		return c, nil
	}
	return c, c.override(opts.Folder, bundles)
}

// IDs returns the id of every text, sorted.
func (c *Catalogue) IDs() []string { return slices.Clone(c.ids) }

// Text returns a text in a language, or in the documented one when l is not supported. It
// panics when there is no such text: ids are written in the source, and tests ask for each.
func (c *Catalogue) Text(l Locale, id string, a Args) string {
	s, err := c.execute(l, id, a)
	if err != nil {
		panic(fmt.Sprintf("text %q: %v", id, err))
	}
	return s
}

func (c *Catalogue) execute(l Locale, id string, a Args) (string, error) {
	localizer, ok := c.localizers[l]
	if !ok {
		localizer = c.localizers[Locales[0]]
	}
	config := i18n.LocalizeConfig{MessageID: id, TemplateData: &a}
	if c.plural[id] {
		config.PluralCount = a.Count
	}
	return localizer.Localize(&config)
}

// Accepted returns the supported language that an Accept-Language header prefers, or ""
// when it names none.
func Accepted(header string) Locale {
	if header == "" {
		return ""
	}
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil {
		return ""
	}
	for _, tag := range tags { // the most wanted first
		// Not [language.NewMatcher]: it takes Malay for Indonesian.
		base, _ := tag.Base()
		if l := spoken(Locale(base.String())); l != "" {
			return l
		}
	}
	return ""
}

// Match returns the language to answer in: the one that an Accept-Language header prefers,
// else the user's own, else preset, else the documented one. Each may be empty or not
// supported.
func Match(header string, user, preset Locale) Locale {
	return cmp.Or(Accepted(header), spoken(user), spoken(preset), Locales[0])
}

func spoken(l Locale) Locale {
	if slices.Contains(Locales[:], l) {
		return l
	}
	return ""
}
