package config

import (
	"encoding/base64"
	"strings"
)

// The types of reports that a webhook can receive.
const (
	ReportDeviceForgotten = "device.forgotten"
	ReportEventFailed     = "event.failed"
	ReportBroadcastDone   = "broadcast.done"
	ReportEventReceipt    = "event.receipt"
)

// Webhooks configures the webhooks of all services.
type Webhooks struct {
	AllowPrivate bool `yaml:"allow_private" doc:"let webhooks go to http URLs and to addresses that are not public (private, loopback, link-local)"`
}

// Webhook configures the webhook of a service, which receives the outcome of its events. It
// is off without a URL.
type Webhook struct {
	URL        URL      `yaml:"url" doc:"https URL that gets signed reports; none when empty"`
	Secret     Secret   `yaml:"secret" doc:"secret that signs them: whsec_ and base64 of 24 to 64 bytes"`
	SecretFile string   `yaml:"secret_file" doc:"file with secret"`
	Events     []string `yaml:"events,omitempty" doc:"what is reported: device.forgotten, event.failed, broadcast.done, event.receipt; all but the last when absent"`
}

// Enabled reports whether the service has a webhook.
func (w Webhook) Enabled() bool { return w.URL != "" }

// The size of a secret, in bytes, as the Standard Webhooks specification has it.
const (
	minWebhookSecret = 24
	maxWebhookSecret = 64
)

func (w Webhook) validate(p *problems, key string, allowPrivate bool) {
	if !w.Enabled() {
		if w.Secret != "" || w.Events != nil {
			p.add(key+".url", "must be set, or nothing of webhook")
		}
		return
	}
	if allowPrivate {
		p.url(key+".url", w.URL.Reveal(), "https", "http")
	} else {
		p.url(key+".url", w.URL.Reveal(), "https")
	}
	text, ok := strings.CutPrefix(w.Secret.Reveal(), "whsec_")
	raw, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) < minWebhookSecret || len(raw) > maxWebhookSecret {
		p.add(key+".secret", "must be whsec_ and base64 of %d to %d bytes", minWebhookSecret, maxWebhookSecret)
	}
	if w.Events != nil && len(w.Events) == 0 {
		p.add(key+".events", "must name an event, or be left out")
	}
	for _, event := range w.Events {
		p.oneOf(key+".events", event, ReportDeviceForgotten, ReportEventFailed, ReportBroadcastDone, ReportEventReceipt)
	}
}
