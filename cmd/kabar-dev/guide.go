package main

import (
	"embed"
	"fmt"
	"io"
	"strings"
	"text/template"

	"github.com/kabar-gateway/kabar/config"
)

//go:embed guide.txt
var guideText string

// samples are the documented "Android Notifications Data Samples" as a service publishes
// them: valid JSON, without the counters that Kabar fills in.
//
//go:embed samples
var samples embed.FS

// A guide is the text that the playground prints when it runs: all addresses, and what to
// try.
type guide struct {
	Public, Admin, Page                      string // host:port
	PublicInstead, AdminInstead, PageInstead string // why the port is not the preset one
	Redis, Data                              string
	FCM, APNs                                string
	Faults                                   []string
	Key                                      string
	People                                   []person
	Welcome                                  string // id of the welcome notification
	Kept                                     bool   // whether data outlives the run

	paint paint
}

func (p *playground) guide(cfg *config.Config, welcome string) *guide {
	s := p.store.Load()
	public, admin, page := p.gateway.Addr(), p.gateway.AdminAddr(), p.page.listener.Addr()
	return &guide{
		Public:        local(public),
		Admin:         local(admin),
		Page:          local(page),
		PublicInstead: instead(p.Listen, presetListen, public),
		AdminInstead:  instead(p.AdminListen, presetAdmin, admin),
		PageInstead:   instead(p.PageListen, presetPage, page),
		Redis:         s.about,
		Data:          p.data(),
		FCM:           cfg.FCM.Endpoint,
		APNs:          cfg.APNs.Endpoint,
		Faults:        describeFaults(p.Fault),
		Key:           demoKey,
		People:        people,
		Welcome:       welcome,
		Kept:          !s.embedded,
		paint:         paintFor(p.stdout),
	}
}

// data says where data is kept, and whether an earlier run left some.
func (p *playground) data() string {
	switch {
	case p.store.Load().embedded:
		return "nothing is kept: the data is gone when this stops"
	case p.found:
		return "data of an earlier run was found in " + p.Data + " and is used; it stays kept there"
	default:
		return "data is kept in " + p.Data + " for the next run"
	}
}

// print prints the guide.
func (g *guide) print(w io.Writer) error {
	t := template.Must(template.New("guide").Funcs(template.FuncMap{
		"bold":   g.paint.bold,
		"cmd":    func(format string, args ...any) string { return g.paint.cyan(fmt.Sprintf(format, args...)) },
		"sample": sample,
		"phones": phones,
	}).Parse(guideText))
	var b strings.Builder
	if err := t.Execute(&b, g); err != nil {
		return err
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// sample returns a sample's JSON.
func sample(name string) (string, error) {
	b, err := samples.ReadFile("samples/" + name + ".json")
	return strings.TrimSpace(string(b)), err
}

// phones lists the names of a person's phones.
func phones(p person) string {
	if len(p.Phones) == 0 {
		return "no phone yet"
	}
	names := make([]string, len(p.Phones))
	for i, phone := range p.Phones {
		names[i] = phoneName(phone)
	}
	return strings.Join(names, ", ")
}

// goodbye says whether the data is kept.
func (g *guide) goodbye() string {
	if g.Kept {
		return "The data is kept for the next run."
	}
	return "The data is gone."
}
